"""JSON lines: columns by name, images beside the file or in it, and lines that say what is wrong with them."""

import json
from base64 import b64encode

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.jsonl_source import JsonlOptions
from captioners.data.line_shards import LINES
from captioners.data.source import Sample
from tests.data.real import needs_photos, photos
from tests.data.rows import bad, check_contract, good, rows
from tests.images.pictures import encoded, jpeg, quadrants

JPEG = jpeg(quadrants())


def lines(path, *things):
    path.write_bytes(b"".join((t if isinstance(t, bytes) else json.dumps(t).encode()) + b"\n" for t in things))
    return path


def source(*inputs, **options):
    return JsonlOptions(inputs=[str(given) for given in inputs], **options).open()


def test_images_are_paths_beside_the_file_or_base64_in_it(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(JPEG)
    kinds = [encoded(quadrants(), kind) for kind in ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")]
    path = lines(
        tmp_path / "a.jsonl",
        {"image": "images/a.jpg", "caption": "a cat", "url": "u"},
        {"image": b64encode(JPEG).decode(), "caption": ["x", "y"]},
        {"image": "data:image/jpeg;base64," + b64encode(JPEG).decode()},
        *({"image": b64encode(data).decode()} for data in kinds),
    )
    found = good(source(path, caption_column="caption"))
    assert [s.image for s in found] == [JPEG] * 3 + kinds
    assert [s.captions for s in found[:3]] == [("a cat",), ("x", "y"), ()]
    assert [s.key for s in found[:2]] == ["00000001", "00000002"]
    assert found[0].meta == {"url": "u"}
    assert found[0].name == "a.jsonl line 1"
    assert {s.offset for s in found} == {None}
    check_contract(source(path))


def test_columns_are_chosen_and_a_wrong_name_lists_those_there_are(tmp_path):
    (tmp_path / "x.jpg").write_bytes(JPEG)
    path = lines(tmp_path / "a.jsonl", {"file": "x.jpg", "text": "a cat", "uid": 7})
    chosen = {"image_column": "file", "caption_column": "text", "key_column": "uid"}
    (sample,) = good(source(path, **chosen))
    assert (sample.key, sample.captions, sample.meta) == ("7", ("a cat",), {})
    with pytest.raises(UserError, match=r"no column 'image' \(image_column\)\. It has: file, text, uid"):
        source(path).shards()
    with pytest.raises(UserError, match=r"no column 'txt' \(caption_column\)\. Did you mean 'text'"):
        source(path, **chosen | {"caption_column": "txt"}).shards()
    with pytest.raises(UserError, match=r"no column 'key' \(key_column\)"):
        source(path, **chosen | {"key_column": "key"}).shards()


def test_bad_lines_become_rows_with_their_number(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    (tmp_path / "root" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "root" / "empty.jpg").write_bytes(b"")
    (tmp_path / "root" / "folder.jpg").mkdir()
    (tmp_path / "root" / "link.jpg").symlink_to("../secret.jpg")
    (tmp_path / "root" / "loop.jpg").symlink_to("loop.jpg")
    cases = [
        ({"key": "a", "image": "a.jpg", "c": "fine"}, None),
        (b"", None),
        (b"{not json", "bad_line"),
        (b"[1, 2]", "bad_line"),
        (b'{"key": "b", "image": "a.jpg", "c": "caf\xe9"}', "not_utf8"),
        ({"image": "a.jpg"}, "bad_line"),
        ({"key": "a", "image": "a.jpg"}, "duplicate_key"),
        ({"key": "c", "image": "a.jpg", "c": 3}, "bad_caption"),
        ({"key": "d"}, "no_image"),
        ({"key": "e", "image": None}, "no_image"),
        ({"key": "f", "image": "https://example.org/a.jpg"}, "no_image"),
        ({"key": "g", "image": "x" * 5000}, "no_image"),
        ({"key": "h", "image": "nul\0.jpg"}, "no_image"),
        ({"key": "i", "image": "../secret.jpg"}, "unsafe_name"),
        ({"key": "j", "image": str(tmp_path / "secret.jpg")}, "unsafe_name"),
        ({"key": "k", "image": "link.jpg"}, "unsafe_name"),
        ({"key": "l", "image": "loop.jpg"}, "missing"),
        ({"key": "m", "image": "none.jpg"}, "missing"),
        ({"key": "n", "image": "a.jpg/b.jpg"}, "missing"),
        ({"key": "o", "image": "x" * 400 + ".jpg"}, "missing"),
        ({"key": "p", "image": "folder.jpg"}, "missing"),
        ({"key": "q", "image": "empty.jpg"}, "empty"),
        ({"key": "r", "image": b64encode(JPEG).decode()[:-3]}, "bad_line"),
        (b'{"deep": ' + b"[" * 100_000, "bad_line"),
        ({"key": "s", "image": str(tmp_path / "root" / "a.jpg")}, None),
    ]
    path = lines(tmp_path / "root" / "a.jsonl", *(case for case, _ in cases))
    options = {"key_column": "key", "caption_column": "c"}
    found = rows(source(path, **options))
    expected = [(number, reason) for number, (case, reason) in enumerate(cases, 1) if case != b""]
    assert [
        (int(r.name.split()[-1]), None) if isinstance(r, Sample) else (int(r.error.split()[2].rstrip(":")), r.reason)
        for r in found
    ] == expected
    check_contract(source(path, **options))
    # The way out that the message names: a root that holds the image, too.
    assert dict(bad(source(path, image_root=str(tmp_path), **options))).get("j") is None


def test_a_line_beyond_all_measure_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "x.jpg").write_bytes(JPEG)
    monkeypatch.setattr("captioners.data.line_shards.LONGEST_LINE", 1000)
    path = lines(tmp_path / "a.jsonl", {"image": "x.jpg"}, {"image": "y" * 3000}, {"image": "x.jpg"})
    assert bad(source(path)) == [("00000002", "bad_line")]
    assert [s.key for s in good(source(path))] == ["00000001", "00000003"]


def many(count, first=0):
    return b"".join(b'{"image": "x.jpg", "n": %d}\n' % n for n in range(first, first + count))


def test_a_shard_is_a_run_of_lines_and_appended_ones_make_new_shards(tmp_path):
    (tmp_path / "x.jpg").write_bytes(JPEG)
    path = tmp_path / "a.jsonl"
    path.write_bytes(many(2 * LINES + 300))
    frozen = source(path).shards()
    assert [shard.path for shard in frozen] == ["a.jsonl#00000", "a.jsonl#00001", "a.jsonl#00002"]
    assert sum(shard.size for shard in frozen) == path.stat().st_size
    assert [s.meta["n"] for s in good(source(path))] == list(range(2 * LINES + 300))
    with path.open("ab") as file:
        file.write(many(900, first=2 * LINES + 300))
    now = source(path).shards(frozen)
    assert now[:3] == frozen
    assert [shard.path for shard in now[3:]] == ["a.jsonl#00003"]
    found = [row for shard in now for row in source(path).samples(shard)]
    assert [s.meta["n"] for s in found] == list(range(3 * LINES + 200))
    assert [s.key for s in found] == [f"{n:08d}" for n in range(1, 3 * LINES + 201)]
    assert source(path).shards(now) == now


def test_a_last_line_without_an_end_is_a_line(tmp_path):
    (tmp_path / "x.jpg").write_bytes(JPEG)
    path = tmp_path / "a.jsonl"
    path.write_bytes(many(3).rstrip(b"\n"))
    frozen = source(path).shards()
    with path.open("ab") as file:
        file.write(b"\n" + many(2, first=3) + b"\n")
    now = source(path).shards(frozen)
    assert [row.meta["n"] for shard in now for row in source(path).samples(shard)] == [0, 1, 2, 3, 4]


def test_lines_changed_under_a_frozen_shard_are_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(many(1500))
    frozen = source(path).shards()
    path.write_bytes(many(1500).replace(b'"n": 1200}', b'"n": 9999}'))
    with pytest.raises(UserError, match=r"a\.jsonl, lines 1,001 to 1,500: has changed"):
        source(path).shards(frozen)
    path.unlink()
    lines(tmp_path / "b.jsonl", {"image": "x.jpg"})
    with pytest.raises(UserError, match=r"a\.jsonl: was an input"):
        source(tmp_path).shards(frozen)


def test_what_is_no_jsonl_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\x1f\x8bxxxx")
    with pytest.raises(UserError, match="unpack it"):
        source(tmp_path).shards()
    (tmp_path / "a.jsonl").write_text(json.dumps([{"image": "x.jpg"}]))
    with pytest.raises(UserError, match="one JSON list, not an object a line"):
        source(tmp_path).shards()
    with pytest.raises(NotFoundError, match="Did you mean"):
        source(tmp_path / "b.jsonl").shards()


def test_an_image_that_is_not_there_any_more_is_not_found(tmp_path):
    (tmp_path / "x.jpg").write_bytes(JPEG)
    path = lines(tmp_path / "a.jsonl", {"image": "x.jpg"})
    (shard,) = source(path).shards()
    (tmp_path / "x.jpg").unlink()
    with pytest.raises(NotFoundError, match="00000001"):
        source(path).image(shard, "00000001", None, 0)


@pytest.mark.real
@needs_photos
def test_real_photos_by_path_and_as_base64(tmp_path):
    files = photos()
    listed = ({"image": str(file), "key": file.stem} for file in files)
    packed = ({"image": b64encode(file.read_bytes()).decode(), "key": file.stem} for file in files)
    path = lines(tmp_path / "a.jsonl", *listed, *packed)
    found = rows(source(path, image_root=str(files[0].parent)))
    assert [row.image for row in found] == [file.read_bytes() for file in files] * 2
