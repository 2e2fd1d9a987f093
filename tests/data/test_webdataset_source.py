"""Tar shards: the samples that webdataset would make, and a row for everything it would split, skip or fail on."""

import json
import os
import tarfile

import pytest

from captioners.core.errors import NotFoundError, StorageError, UserError
from captioners.data.source import Sample, sources
from captioners.data.webdataset_source import WebdatasetOptions
from tests.data.real import needs_photos, photos
from tests.data.rows import bad, check_contract, good, rows
from tests.data.tars import SAMPLES, foreign, webdataset_reads, write


def source(*inputs, **options):
    return WebdatasetOptions(inputs=[str(given) for given in inputs], **options).open()


def test_it_is_filed_under_its_name():
    assert sources.get("webdataset") is WebdatasetOptions


def test_samples_are_those_of_the_webdataset_library(tmp_path):
    members = [
        *[
            ("a/0001.jpg", b"one"),
            ("a/0001.txt", b"a cat"),
            ("a/0001.seg.png", b"mask"),
            ("a/0001.json", b'{"uid": "u"}'),
        ],
        *[("./b.PNG", b"two"), ("./b.url.txt", b"http://x/y\n"), ("README", b"none"), ("c.v1/d.webp", b"three")],
        *[("._b.png", b"mac"), ("__MACOSX/e.jpg", b"mac")],
    ]
    path = foreign(tmp_path / "0.tar", members)
    found = good(source(path))
    assert [(s.key, s.image, s.captions, s.meta) for s in found] == [
        ("a/0001", b"one", ("a cat",), {"uid": "u"}),
        ("b", b"two", (), {"url": "http://x/y"}),
        ("c.v1/d", b"three", (), {}),
    ]
    theirs = webdataset_reads(path)
    assert [s.key for s in found] == [key.removeprefix("./") for key in theirs if "MACOSX" not in key]
    assert found[0].image == theirs["a/0001"]["jpg"]
    check_contract(source(path))


def test_our_own_tars_are_read_back(tmp_path):
    write(tmp_path / "0.tar")
    assert [(s.key, s.image) for s in good(source(tmp_path))] == [
        ("0001", SAMPLES["0001"]["jpg"]),
        ("0002", b"two" * 400),
    ]
    assert good(source(tmp_path))[0].captions == (SAMPLES["0001"]["txt"].decode(),)
    assert good(source(tmp_path))[0].name == "0.tar: 0001.jpg"


def test_offsets_are_those_of_tarfile(tmp_path):
    path = write(tmp_path / "0.tar")
    with tarfile.open(path) as tar:
        assert [s.offset for s in good(source(path))] == [
            tar.getmember(name).offset_data for name in ("0001.jpg", "0002.png")
        ]


def test_which_image_and_which_caption(tmp_path):
    members = {
        "jpg": b"photo",
        "seg.png": b"mask",
        "txt": b"alt",
        "json": b'{"cap": ["x", " ", "y"], "n": 3, "of": {"cap": "z"}, "half": "\\ud800"}',
    }
    path = write(tmp_path / "0.tar", {"k": members})
    assert good(source(path, image_key="seg.png"))[0].image == b"mask"
    assert good(source(path, caption_key="json:cap"))[0].captions == ("x", "y")
    assert good(source(path, caption_key="json:of.cap"))[0].captions == ("z",)
    assert bad(source(path, caption_key="json:half")) == [("k", "not_utf8")]
    assert good(source(path, caption_key="json:of.none"))[0].captions == ()
    assert good(source(path, caption_key="json:none"))[0].captions == ()
    assert bad(source(path, caption_key="json:n")) == [("k", "bad_caption")]
    assert bad(source(path, image_key="webp")) == [("k", "no_image")]


def test_bad_samples_become_rows_in_their_place(tmp_path):
    link = tarfile.TarInfo("link.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    path = foreign(
        tmp_path / "0.tar",
        [
            *[("a.jpg", b"1"), ("a.txt", b"caf\xe9")],
            *[("b.txt", b"no image")],
            *[("../c.jpg", b"3"), ("../c.txt", b"3")],
            *[("/d.jpg", b"4"), link, ("new\nline.jpg", b"4")],
            *[("e.v1.jpg", b"5"), ("e.v2.jpg", b"6")],
            *[("f.jpg", b"7"), ("f.jpg", b"8"), ("g.jpg", b"9"), ("g.json", b"[1]")],
            *[("h.jpg", b""), ("f.txt", b"apart"), ("i.jpg", b"good"), ("i.json", b'{"deep": ' + b"[" * 100_000)],
            ("j.jpg", b"good"),
        ],
    )
    assert bad(source(path)) == [
        ("a", "not_utf8"),
        ("b", "no_image"),
        ("../c", "unsafe_name"),
        ("/d", "unsafe_name"),
        ("link", "unsafe_name"),
        ("new\\nline", "unsafe_name"),
        ("e.v1", "dotted_key"),
        ("e.v2", "dotted_key"),
        ("f", "duplicate_key"),
        ("g", "not_json"),
        ("h", "empty"),
        ("f", "duplicate_key"),
        ("i", "not_json"),
    ]
    assert [(s.key, s.image, s.index) for s in good(source(path))] == [("f", b"7", 8), ("j", b"good", 14)]
    check_contract(source(path))
    # With the extension named, a dot in it is no dot of the key.
    assert [s.image for s in good(source(path, image_key="v2.jpg"))] == [b"6"]


def test_a_missing_caption_is_no_fault(tmp_path):
    write(tmp_path / "0.tar", {"a": {"jpg": b"1"}, "b": {"jpg": b"2", "txt": b" \n"}})
    assert [s.captions for s in good(source(tmp_path))] == [(), ()]
    assert bad(source(tmp_path)) == []


def test_a_cut_tar_gives_its_whole_samples_and_one_row_that_says_where(tmp_path):
    samples = {f"{n:02}": {"jpg": bytes([n]) * 700, "txt": b"c"} for n in range(5)}
    whole = write(tmp_path / "whole.tar", samples).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as tar:
        infos = tar.getmembers()
    path = tmp_path / "cut.tar"
    for length in range(513, infos[-1].offset_data + 512, 256):
        path.write_bytes(whole[:length])
        # A sample is known to be whole once the next one has begun.
        begun = [i for i in infos if i.offset_data + i.size <= length]
        expected = sorted({i.name[:2] for i in begun})[:-1]
        found = rows(source(path))
        assert [row.key for row in found] == [*expected, ""], length
        cut = found[-1]
        assert (cut.reason, cut.index) == ("cut_tar", len(expected))
        assert cut.offset == (next((i.offset for i in infos if i.offset_data + i.size > length), cut.offset))
        assert "cut.tar" in cut.error
    check_contract(source(path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (bytes(10240), "empty"), (b"not a tar at all" * 99, "not_a_tar"), (b"\x1f\x8b" * 99, "not_a_tar")],
    ids=["zero_bytes", "no_members", "text", "gzip"],
)
def test_a_shard_without_samples_is_one_row_of_the_shard(tmp_path, content, reason):
    (tmp_path / "0.tar").write_bytes(content)
    write(tmp_path / "1.tar")
    found = rows(source(tmp_path))
    assert [(row.shard, row.key) for row in found] == [("0.tar", ""), ("1.tar", "0001"), ("1.tar", "0002")]
    assert found[0].reason == reason
    check_contract(source(tmp_path))


def test_compressed_tars_are_refused_with_the_way_out(tmp_path):
    (tmp_path / "0.tar.gz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"0\.tar\.gz: a compressed tar.* unpack it"):
        source(tmp_path).shards()


def test_no_shards_matched(tmp_path):
    write(tmp_path / "train-0.tar")
    with pytest.raises(NotFoundError, match=r"Did you mean 'train-0\.tar'"):
        source(tmp_path / "trian-0.tar").shards()


def test_sizes_json_gives_counts(tmp_path):
    write(tmp_path / "0.tar")
    write(tmp_path / "1.tar")
    (tmp_path / "sizes.json").write_text(json.dumps({"0.tar": 2}))
    assert [shard.count for shard in source(tmp_path).shards()] == [2, None]
    for wrong in ("[1]", '{"0.tar": "two"}', "{"):
        (tmp_path / "sizes.json").write_text(wrong)
        with pytest.raises(UserError, match=r"sizes\.json"):
            source(tmp_path).shards()


def test_frozen_shards_come_first_and_unchanged_and_new_ones_after(tmp_path):
    write(tmp_path / "1.tar")
    frozen = source(tmp_path).shards()
    write(tmp_path / "0.tar")
    assert [shard.path for shard in source(tmp_path).shards(frozen)] == ["1.tar", "0.tar"]
    assert source(tmp_path).shards(frozen)[0] is frozen[0]


def test_a_frozen_shard_that_changed_or_is_gone_is_named_with_the_ways_out(tmp_path):
    write(tmp_path / "0.tar")
    write(tmp_path / "1.tar")
    frozen = source(tmp_path).shards()
    about = (tmp_path / "1.tar").stat()
    os.utime(tmp_path / "1.tar", ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    with pytest.raises(UserError, match=r"1\.tar: has changed since .*another time.*output="):
        source(tmp_path).shards(frozen)
    os.utime(tmp_path / "1.tar", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert source(tmp_path).shards(frozen) == frozen
    (tmp_path / "1.tar").unlink()
    with pytest.raises(UserError, match=r"1\.tar: was an input .*output="):
        source(tmp_path).shards(frozen)
    with pytest.raises(StorageError, match=r"1\.tar: is not there any more; bring it back"):
        list(source(tmp_path).samples(frozen[1]))


def test_an_image_that_is_not_there_any_more_is_not_found(tmp_path):
    path = write(tmp_path / "0.tar")
    (shard,) = source(path).shards()
    with pytest.raises(NotFoundError, match="ends before byte"):
        source(path).image(shard, "0001", 10**9, 5)
    with pytest.raises(NotFoundError, match="no image of the key 'none'"):
        source(path).image(shard, "none", None, 5)


@pytest.mark.real
@needs_photos
def test_real_photos_come_out_of_a_tar_as_they_went_in(tmp_path):
    files = photos()
    write(tmp_path / "0.tar", {file.stem: {"jpg": file.read_bytes()} for file in files})
    found = rows(source(tmp_path))
    assert all(isinstance(row, Sample) for row in found)
    assert [(row.key, row.image) for row in found] == [(file.stem, file.read_bytes()) for file in files]
