"""The ledger: one entry for each unit, whoever comes first; its sums; what a damaged or unfinished entry is."""

import errno
import json
import os
import uuid
from dataclasses import asdict, replace

import pytest

from captioners.core import ledger as module
from captioners.core.entry import Counts, Entry
from captioners.core.errors import UserError
from captioners.core.ledger import Ledger, slug
from captioners.core.storage import Place


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    return Place(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}/run")


def entry(shard="0.tar", part=0, **changes):
    counts = Counts(read=3, captioned=1, filtered=1, quarantined=1, rows=4)
    whole = Entry(
        layer="a", fingerprint="f", shard=shard, part=part, start=0, stop=3, last=True, counts=counts, file="layers/x",
        digest="d", reasons={"empty": 1}, flags={"truncated": 2}, seconds={"waiting": 0.5}, environment={"torch": "2"},
    )  # fmt: skip
    return replace(whole, **changes)


def test_an_entry_comes_back_as_it_was(place):
    ledger = Ledger(place)
    assert ledger.find("a", "0.tar", 0) is None
    assert ledger.commit(entry())
    assert ledger.find("a", "0.tar", 0) == entry() and list(ledger.entries()) == [entry()]


def test_of_two_entries_of_one_unit_the_first_stands(place):
    ledger = Ledger(place)
    assert ledger.commit(entry(file="first")) and not ledger.commit(entry(file="second"))
    assert [found.file for found in ledger.entries()] == ["first"]


def test_entries_are_sorted_and_can_be_asked_for_by_layer(place):
    ledger = Ledger(place)
    units = [("b", "0.tar", 0), ("a", "1.tar", 0), ("a", "0.tar", 10), ("a", "0.tar", 2)]
    for layer, shard, part in units:
        ledger.commit(entry(shard, part, layer=layer))
    assert [(e.layer, e.shard, e.part) for e in ledger.entries()] == sorted(units)
    assert {e.layer for e in ledger.entries(["b"])} == {"b"} and list(ledger.entries(["c"])) == []


@pytest.mark.parametrize(
    ("counts", "draws", "says"),
    [
        (Counts(), 5, None),
        (Counts(read=3, captioned=1, filtered=1, quarantined=1, rows=4), 2, None),
        (Counts(read=4, captioned=1, filtered=1, quarantined=1, rows=4), 2, "read 4 is not captioned 1"),
        (Counts(read=3, captioned=1, filtered=1, quarantined=1, rows=3), 2, "3 rows are not 2 samples x 2 draws"),
    ],
)
def test_a_sum_that_does_not_hold_is_said(counts, draws, says):
    problem = counts.problem(draws)
    assert problem is None if says is None else says in problem


def test_sums_add_up():
    assert Counts(read=2, captioned=2, rows=4) + Counts(read=1, quarantined=1) == Counts(
        read=3, captioned=2, quarantined=1, rows=4
    )


def test_a_damaged_entry_is_named_with_the_way_out(place):
    ledger = Ledger(place)
    ledger.commit(entry())
    name = ledger.name("a", "0.tar", 0)
    place.write(name, b'{"layer": "a"')
    for ask in (lambda: list(ledger.entries()), lambda: ledger.find("a", "0.tar", 0)):
        with pytest.raises(
            UserError, match=r"a damaged ledger entry .*remove it, and its unit is done again"
        ) as caught:
            ask()
        assert place.at(name) in str(caught.value)


def test_a_name_that_was_taken_and_never_filled_is_no_entry_and_is_filled_by_the_next(place, monkeypatch):
    monkeypatch.setattr(module, "_FILLED_S", 0.0)
    ledger = Ledger(place)
    place.write(ledger.name("a", "0.tar", 0), b"")
    assert list(ledger.entries()) == [] and ledger.find("a", "0.tar", 0) is None
    assert ledger.commit(entry())
    assert list(ledger.entries()) == [entry()] and not ledger.commit(entry(worker="late"))


def test_a_name_that_is_filled_a_moment_later_is_another_s(place, monkeypatch):
    ledger, other = Ledger(place), replace(entry(), worker="other")
    place.write(ledger.name("a", "0.tar", 0), b"")
    full = json.dumps(asdict(other)).encode()
    monkeypatch.setattr(module.time, "sleep", lambda _: place.write(ledger.name("a", "0.tar", 0), full))
    assert not ledger.commit(entry()) and list(ledger.entries()) == [other]


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path, monkeypatch):
    place = Place(tmp_path)
    Ledger(place).commit(entry())

    def failing(path):
        raise OSError(errno.EIO, "Input/output error", path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(OSError, match="Input/output error"):
        list(Ledger(place).entries())


def test_shards_in_hidden_folders_are_seen_by_readers(place):
    hidden = replace(entry(), shard=".cache/0.tar")
    Ledger(place).commit(hidden)
    assert list(Ledger(place).entries()) == [hidden]


def test_entries_are_replaced_together_even_while_others_compact(place):
    """Whoever compacts read the old texts before, and adds them after: the new entries stay right."""
    ledger, late = Ledger(place), Ledger(place)
    units = [replace(entry(), part=part) for part in range(3)]
    new = [replace(unit, worker="new") for unit in units]
    for unit in units:
        ledger.commit(unit)
    late._segments.refresh()
    old = [(Ledger.name(*unit.unit), json.dumps(asdict(unit))) for unit in units]
    ledger.replace(new[:2])
    assert list(Ledger(place).entries()) == [*new[:2], units[2]] and ledger.find(*units[0].unit) == new[0]
    assert not late._segments.add(old), "its number is taken"
    late._segments.refresh()
    assert late._segments.add(old)
    assert list(Ledger(place).entries()) == [*new[:2], units[2]]
    ledger.replace([replace(new[0], worker="newer")])
    ledger.compact(least=1)
    assert [found.worker for found in Ledger(place).entries()] == ["newer", "new", units[2].worker]
    ledger.forget([units[1].unit])
    assert [found.part for found in Ledger(place).entries()] == [0, 2]


def test_fields_that_a_newer_package_adds_do_not_disturb(place):
    ledger = Ledger(place)
    ledger.commit(entry())
    name = ledger.name("a", "0.tar", 0)
    place.write(name, place.read(name).replace(b'"start": 0', b'"start": 0, "later": 1'))
    assert list(ledger.entries()) == [entry()]


def test_slugs_tell_paths_apart_and_fit_a_file_name():
    paths = ["a/b", "a%2Fb", "a b", "ä", "x" * 300, "x" * 301, "A/b", ".", ".a", "%2Ea"]
    slugs = [slug(path) for path in paths]
    assert len(set(slugs)) == len(paths)
    assert all(len(name) <= 120 and "/" not in name for name in slugs)
