"""Tars as we write them, as anyone may make them, and as the webdataset library reads them."""

import io
import tarfile

from captioners.data.tar import TarWriter

SAMPLES = {"0001": {"jpg": b"\xff\xd8 one", "txt": "eine Katze, größer".encode()}, "0002": {"png": b"two" * 400}}


def write(path, samples=SAMPLES):
    with TarWriter(path) as tar:
        for key, members in samples.items():
            tar.add(key, members)
    return path


def foreign(path, entries, format=tarfile.GNU_FORMAT):
    """A tar as anyone may make it: entries are (name, bytes) or TarInfos."""
    with tarfile.open(path, "w", format=format) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                tar.addfile(info, io.BytesIO(entry[1]))
    return path


def webdataset_reads(path):
    """Key -> members of a shard, by the library's own expander and grouping (its opener leaks the file)."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    with path.open("rb") as file:
        samples = list(group_by_keys(tar_file_expander([{"url": str(path), "stream": file}])))
    assert len({sample["__key__"] for sample in samples}) == len(samples)
    return {s["__key__"]: {k: v for k, v in s.items() if not k.startswith("__")} for s in samples}
