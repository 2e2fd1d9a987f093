"""Samples read by themselves equal what the webdataset library reads in a stream."""

import io
import tarfile

import pytest

from captioners.core.errors import UserError
from captioners.data.inputs import find_inputs
from captioners.data.texts import BadSampleError
from captioners.reinforcement.index import ShardIndex
from tests.data.tars import foreign, webdataset_reads, write

LONG = "k" * 120


def entries(count=7):
    return [
        (f"{at:03d}.{ext}", f"{at} {ext} ".encode() * (at * 97))
        for at in range(count)
        for ext in ("jpg", "txt", "syn.json")
    ]


def read_all(index):
    return dict(index.read(number) for number in range(len(index)))


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_each_sample_by_itself_is_what_webdataset_streams(tmp_path, format):
    path = foreign(tmp_path / "a.tar", entries(), format)
    index = ShardIndex({"a.tar": path})
    found = read_all(index)
    assert len(index) == len(found) == 7
    assert found == webdataset_reads(path)
    assert index.read(5) == index.read(5)


def test_names_beyond_the_header_and_folders_between_are_no_hindrance(tmp_path):
    folder = tarfile.TarInfo("d/")
    folder.type = tarfile.DIRTYPE
    said = [(f"{LONG}1.jpg", b"one"), (f"{LONG}1.txt", b"1"), folder, (f"d/{LONG}2.jpg", b"two"), ("z.JPG", b"three")]
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        index = ShardIndex({"a.tar": foreign(tmp_path / "a.tar", said, format)})
        assert [index.read(at) for at in (2, 1, 0)] == [
            ("z", {"jpg": b"three"}),
            (f"d/{LONG}2", {"jpg": b"two"}),
            (f"{LONG}1", {"jpg": b"one", "txt": b"1"}),
        ]


def test_shards_stand_in_order_under_their_names(tmp_path):
    for name in ("01/0.tar", "00/0.tar"):
        (tmp_path / name).parent.mkdir()
        write(tmp_path / name, {name[:2]: {"jpg": name.encode()}, "b": {"jpg": b"x"}})
    index = ShardIndex(find_inputs([str(tmp_path)], (".tar",), "shards"))
    assert [index.shard_of(number) for number in range(4)] == ["00/0.tar", "00/0.tar", "01/0.tar", "01/0.tar"]
    assert index.read(2) == ("01", {"jpg": b"01/0.tar"})


def test_a_cut_shard_gives_its_whole_samples_and_says_the_rest(tmp_path):
    whole = foreign(tmp_path / "whole.tar", entries())
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole.read_bytes()[:9000])
    index = ShardIndex({"cut.tar": cut, "whole.tar": whole})
    assert 0 < len(index) - 7 < 7
    assert list(read_all(index)) == [f"{at:03d}" for at in range(7)]
    (skipped,) = index.skipped
    assert (skipped.shard, skipped.key, skipped.reason) == ("cut.tar", "", "cut_tar")
    assert f"{len(index) - 7:03d}, which may lack members, is left out" in skipped.error


def test_links_are_not_followed(tmp_path):
    link = tarfile.TarInfo("a.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    index = ShardIndex({"a.tar": foreign(tmp_path / "a.tar", [("a.jpg", b"x"), link, ("b.jpg", b"y")])})
    with pytest.raises(BadSampleError, match="not followed"):
        index.read(0)
    assert index.read(1) == ("b", {"jpg": b"y"})


def test_a_shard_that_is_gone_stops_the_run(tmp_path):
    path = write(tmp_path / "a.tar")
    index = ShardIndex({"a.tar": path})
    path.write_bytes(bytes(len(path.read_bytes())))
    with pytest.raises(UserError, match="changed while it was read"):
        index.read(0)
    path.unlink()
    with pytest.raises(UserError, match="could not be read"):
        index.read(0)


def test_bytes_of_a_span_are_a_tar_of_that_member(tmp_path):
    path = foreign(tmp_path / "a.tar", entries(3), tarfile.PAX_FORMAT)
    index = ShardIndex({"a.tar": path})
    _, start, end = index._spans[1].tolist()
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes()[start:end] + bytes(1024))) as alone:
        assert alone.getnames() == ["001.jpg", "001.txt", "001.syn.json"]
