"""Uids as DFN-2B publishes them, and shards read through them."""

import json

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.data.source import describe
from captioners.data.uids import UidSet, halves_of
from captioners.data.webdataset_source import WebdatasetOptions
from tests.data.rows import bad, check_contract, good
from tests.data.tars import write


def uid(number, high=7):
    return f"{high:016x}{number:016x}"


def save(path, uids, dtype="u8,u8"):
    np.save(path, np.array([(int(u[:16], 16), int(u[16:], 16)) for u in uids], dtype=dtype))
    return path


def test_every_uid_is_found_and_no_other(tmp_path):
    draws = np.random.Generator(np.random.Philox(0)).integers(0, 2**64, (500, 2), dtype=np.uint64)
    several = sorted({(int(a) % 50, int(b)) for a, b in draws} | {(0, 0), (2**64 - 1, 2**64 - 1)})
    inside = [f"{a:016x}{b:016x}" for a, b in several]
    held = UidSet(save(tmp_path / "a.npy", inside))
    assert len(held) == len(inside)
    assert all(one in held and one.upper() in held for one in inside)
    near = [f"{a:016x}{(b + d) % 2**64:016x}" for a, b in several for d in (-1, 1)]
    assert [one in held for one in near] == [one in set(inside) for one in near]


def test_the_file_is_mapped_not_read(tmp_path):
    assert isinstance(UidSet(save(tmp_path / "a.npy", [uid(1)]))._uids, np.memmap)


def test_halves_as_the_paper_s_readme_has_them():
    assert halves_of("319076497b9e535ff6355db908d8ff35") == (0x319076497B9E535F, 0xF6355DB908D8FF35)
    for wrong in (None, 3, "", "319076497b9e535ff6355db908d8ff3", "x" * 32, "319076497b9e535ff6355db908d8ff35\n"):
        with pytest.raises(ValueError, match="is no uid of 32"):
            halves_of(wrong)


def test_another_file_is_refused(tmp_path):
    np.save(tmp_path / "flat.npy", np.arange(4, dtype="u8"))
    (tmp_path / "text.npy").write_text("no numbers")
    for name, says in [("none.npy", "cannot be read"), ("text.npy", "cannot be read"), ("flat.npy", "holds uint64")]:
        with pytest.raises(UserError, match=says):
            UidSet(tmp_path / name)
    with pytest.raises(UserError, match="is not sorted"):
        UidSet(save(tmp_path / "b.npy", [uid(2), uid(1)]))


@pytest.fixture
def shards(tmp_path):
    def sample(number, text):
        return {
            "jpg": b"\xff\xd8" + text.encode(),
            "txt": text.encode(),
            "json": json.dumps({"uid": uid(number)}).encode(),
        }

    samples = {f"{n:09d}": sample(n, f"text {n}") for n in range(6)}
    samples["000000003"]["json"] = b'{"uid": "none"}'
    del samples["000000004"]["json"]
    write(tmp_path / "00000.tar", samples)
    save(tmp_path / "kept.npy", [uid(1), uid(2), uid(5), uid(77)])
    return tmp_path


def test_only_samples_of_the_set_are_read_and_those_without_a_uid_are_counted(shards):
    chosen = WebdatasetOptions(inputs=[str(shards)], uids=str(shards / "kept.npy")).open()
    assert [(s.key, s.captions) for s in good(chosen)] == [
        ("000000001", ("text 1",)), ("000000002", ("text 2",)), ("000000005", ("text 5",)),
    ]  # fmt: skip
    assert bad(chosen) == [("000000003", "no_uid"), ("000000004", "no_uid")]
    assert describe(chosen) == (f"only samples whose uid is one of the 4 in {shards / 'kept.npy'}",)
    check_contract(chosen)
    whole = WebdatasetOptions(inputs=[str(shards)]).open()
    assert len(good(whole)) == 6
    assert describe(whole) == ()
