"""captioners/core/run_units.py: the units that all members have finished, in one order, whatever the ledger's."""

import json
from dataclasses import asdict, replace

import pytest

from captioners.core.errors import UserError
from captioners.core.ledger import Ledger
from captioners.core.run_dir import RunDir
from captioners.core.run_units import RunUnits
from captioners.core.segments import Segments
from tests.runs_fixture import make_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, drawn=30)


def test_units_come_sorted_with_every_member_s_entry(run):
    units = RunUnits(run)
    found = [(unit.number, unit.shard, unit.part) for unit in units.units()]
    assert found == [(0, "drawn", 0), (1, "drawn", 1), (2, "drawn", 2), (3, "photos", 0)]
    assert (len(units), units.finished_shards, units.halves) == (4, ["drawn", "photos"], 0)
    assert [list(units.of_shard(shard)) for shard in ("drawn", "photos")] == [[0, 1, 2], [3]]
    assert [unit.part for unit in units.units(1, 3)] == [1, 2]
    assert [list(unit.entries) for unit in units.units(3)] == [["brief", "broad"]]
    assert {entry.digest for unit in units.units() for entry in unit.entries.values()} == {
        entry.digest for entry in run.entries()
    }
    assert "truncated" in units.flags


@pytest.mark.parametrize(
    ("gone", "left", "shards"),
    [
        (("broad", "drawn", 2), [0, 1, 3], ["photos"]),
        (("brief", "drawn", 1), [0, 2, 3], ["photos"]),
        (("broad", "photos", 0), [0, 1, 2], ["drawn"]),
    ],
)
def test_a_unit_that_one_member_lacks_is_none_wherever_the_gap_is(run, gone, left, shards):
    whole = RunUnits(run)
    numbered = {(unit.shard, unit.part): unit.number for unit in whole.units()}
    run.place.remove(Ledger.name(*gone))
    units = RunUnits(run)
    assert [numbered[unit.shard, unit.part] for unit in units.units()] == left
    assert (units.finished_shards, units.halves) == (shards, 1)
    assert units.digest != whole.digest


def test_an_entry_that_goes_meanwhile_is_said(run):
    units = RunUnits(run)
    run.place.remove(Ledger.name("broad", "photos", 0))
    with pytest.raises(UserError, match="shard photos, part 0 of member 'broad' was taken away meanwhile"):
        list(units.units())


def test_a_run_without_members_or_units(tmp_path):
    run = RunDir(tmp_path / "run")
    run.begin({"seed": 0})
    with pytest.raises(UserError, match="no member has begun"):
        RunUnits(run)
    begun = make_run(tmp_path / "begun", finish=False)
    for name in list(begun.place.names("ledger")):
        begun.place.remove(name)
    assert (len(RunUnits(begun)), RunUnits(begun).finished_shards) == (0, [])


def test_each_segment_is_opened_once_for_many_units_though_they_lie_in_the_order_of_time(run, monkeypatch):
    """Units come in the order of their shards; each entry used to open another segment than the one before."""
    expected = [{name: entry.digest for name, entry in unit.entries.items()} for unit in RunUnits(run).units()]
    entries = list(run.entries())
    for turn in range(2):
        segments = Segments(run.place)
        segments.refresh()
        rolled = [replace(entry, finished=f"2026-01-0{turn + 1}T00:00:00+00:00") for entry in entries[turn::2]]
        names = [Ledger.name(*entry.unit) for entry in rolled]
        assert segments.add([(name, json.dumps(asdict(entry))) for name, entry in zip(names, rolled, strict=True)])
        for name in names:
            run.place.remove(name)
    units, opened, load = RunUnits(run), [], Segments._load
    list(units.units(0, 1))  # the last segment may be open already

    def loading(self, name, wanted):
        opened.append(name)
        return load(self, name, wanted)

    monkeypatch.setattr(Segments, "_load", loading)
    found = [{name: entry.digest for name, entry in unit.entries.items()} for unit in units.units()]
    assert found == expected and len(entries) == 8
    assert len(opened) <= 2 and len(set(opened)) == len(opened)
