"""All members of a tar's samples as bytes: what webdataset reads, and what no sample comes of, each with its reason."""

import io
import tarfile

from webdataset.tariterators import group_by_keys, tar_file_expander

from captioners.data.raw_samples import RawSample, raw_samples
from captioners.data.source import Unreadable


def written(*members):
    """The bytes of a tar of (name, bytes); None instead of bytes makes a link."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data or b""))
    return file.getvalue()


def read(data):
    return list(raw_samples(io.BytesIO(data), "0.tar"))


GOOD = [
    (f"{key}.{extension}", f"{key} {extension}".encode())
    for key in ("a", "b")
    for extension in ("txt", "jpg", "syn.json")
]


def test_samples_are_webdatasets_with_all_their_members_in_order():
    found = read(written(*GOOD))
    files = tar_file_expander([{"url": "0.tar", "stream": io.BytesIO(written(*GOOD))}])
    theirs = [
        (sample["__key__"], {name: data for name, data in sample.items() if not name.startswith("__")})
        for sample in group_by_keys(files)
    ]
    assert [(one.key, one.members) for one in found] == theirs
    assert [one.index for one in found] == [0, 1] and list(found[0].members) == ["txt", "jpg", "syn.json"]
    assert found[1].name == "0.tar: b"


def test_what_no_sample_comes_of_says_why_and_the_others_stay():
    found = read(written(("x\\b.jpg", b"x"), *GOOD, ("c.jpg", None), ("a.jpg", b"again"), ("d.jpg", b"y")))
    reasons = {one.key: one.reason for one in found if isinstance(one, Unreadable)}
    assert reasons == {"x\\b": "unreadable", "c": "unsafe_name", "a": "duplicate_key"}
    assert [one.key for one in found if isinstance(one, RawSample)] == ["a", "b", "d"]
    assert [one.index for one in found] == list(range(6))


def test_a_cut_tar_gives_its_whole_samples_and_one_fault():
    data = written(*GOOD)
    *samples, fault = read(data[: 512 * 9])
    assert [one.key for one in samples] == ["a"] and (fault.key, fault.reason) == ("", "cut_tar")
    assert "b, which may lack members, is left out" in fault.error
    (empty,) = read(written())
    assert empty.reason == "empty" and not empty.key
