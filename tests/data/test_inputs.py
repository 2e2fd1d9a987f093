"""Inputs: what a pattern stands for, what files are called, and what is said when they are not there."""

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.inputs import expand_braces, find_files


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(*inputs, root=None):
    return list(find_files([str(given) for given in inputs], (".tar",), "tar shards", root))


@pytest.mark.parametrize(
    "pattern",
    [
        "a.tar",
        "{00000..00012}.tar",
        "{8..11}",
        "{3..1}",
        "{0..9..4}",
        "{a,b}/{01..02}.tar",
        "{,x}y",
        "{-1..1}",
        "{008..10}",
    ],
)
def test_braces_expand_as_a_shells_do(pattern):
    import braceexpand

    assert expand_braces(pattern) == list(braceexpand.braceexpand(pattern))


def test_braces_that_mean_nothing_stay_and_endless_ones_are_refused():
    assert expand_braces("a{b}c") == ["a{b}c"]
    for endless in ("{0..999999999999}", "{0..9999}" * 4):
        with pytest.raises(UserError, match="stands for more than"):
            expand_braces(endless)


def test_names_are_relative_to_the_folder_that_all_inputs_share(tmp_path):
    touch(tmp_path, "00/0.tar", "01/0.tar", "00/readme.txt", ".hidden/0.tar", "00/.part.tar")
    assert found(tmp_path) == ["00/0.tar", "01/0.tar"]
    assert found(tmp_path / "00") == ["0.tar"]
    assert found(tmp_path / "01", tmp_path / "00") == ["01/0.tar", "00/0.tar"]
    assert found(tmp_path / "{00..01}" / "0.tar") == ["00/0.tar", "01/0.tar"]
    assert found(tmp_path / "*" / "*.tar") == ["00/0.tar", "01/0.tar"]
    assert found(tmp_path / "00", tmp_path / "00" / "0.tar") == ["0.tar"]
    assert found(tmp_path / "00", root=str(tmp_path)) == ["00/0.tar"]
    # One shard of a pattern alone has the name it has among all.
    (tmp_path / "01/0.tar").unlink()
    assert found(tmp_path / "*" / "*.tar") == ["00/0.tar"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    touch(tmp_path, "a[1].tar", "a1.tar")
    assert found(tmp_path / "a[1].tar") == ["a[1].tar"]


def test_what_is_not_there_is_named_with_what_is_near(tmp_path):
    touch(tmp_path, "00000.tar", "00002.tar")
    with pytest.raises(NotFoundError, match=r"00001\.tar: no such tar shards\. Did you mean '0000\d\.tar'"):
        found(tmp_path / "00001.tar")
    with pytest.raises(NotFoundError, match=r"1 of 3 tar shards are not there \(00001\.tar\)"):
        found(tmp_path / "{00000..00002}.tar")
    with pytest.raises(NotFoundError, match="no such tar shards"):
        found(tmp_path / "x*.tar")
    with pytest.raises(NotFoundError, match=r"Did you mean"):
        found(tmp_path.parent / (tmp_path.name + "x") / "00000.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match=r"no tar shards found .*'.*empty'"):
        found(tmp_path / "empty")
    with pytest.raises(NotFoundError, match="nothing was given"):
        find_files([], (".tar",), "tar shards")


@pytest.mark.parametrize("address", ["s3://bucket/0.tar", "https://a.org/{0..9}.tar", "pipe:aws s3 cp x -"])
def test_what_is_not_on_this_machine_is_said_to_be_so(address):
    with pytest.raises(UserError, match="copy the tar shards to a local disk"):
        found(address)


def test_a_file_outside_the_root_is_refused(tmp_path):
    touch(tmp_path, "a/0.tar", "b/0.tar")
    with pytest.raises(UserError, match="does not lie below the input root"):
        found(tmp_path / "a", root=str(tmp_path / "b"))
