"""Compaction: an entry exists once for readers at any moment, whoever is killed when, and no name is free twice."""

import errno
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from captioners.core import segments
from captioners.core.entry import Counts, Entry
from captioners.core.errors import UserError
from captioners.core.ledger import Ledger
from captioners.core.storage import Place


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    return Place(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}/run")


def entry(shard, part=0, **changes):
    whole = Entry(
        layer="a", fingerprint="f", shard=shard, part=part, start=0, stop=3, last=True, digest="d", file="layers/x",
        counts=Counts(read=3, captioned=1, filtered=1, quarantined=1, rows=4), reasons={"empty": 1}, kept=2,
        flags={"truncated": 2}, seconds={"waiting": 0.5, "decoding": 2.0}, worker="here-1-0", alarms=[{"name": "same"}],
        finished="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    return replace(whole, **changes)


def filled(place, count=6):
    ledger = Ledger(place)
    for number in range(count):
        assert ledger.commit(entry(f"{number}.tar", file=f"first-{number}"))
    return ledger


def found(place):
    """What a reader who comes just now finds: each entry with its file."""
    entries = [(e.shard, e.file) for e in Ledger(place).entries()]
    assert len(Ledger(place).table()) == len(entries), "both ways of reading agree"
    return entries


def firsts(count=6):
    return [(f"{number}.tar", f"first-{number}") for number in range(count)]


def small(place):
    return list(place.names("ledger"))


def test_entries_come_back_from_a_segment_as_they_were_and_their_files_are_gone(place):
    before = list(filled(place).entries())
    assert Ledger(place).compact(least=7) == 0 and len(small(place)) == 6, "too few are left alone"
    assert Ledger(place).compact(least=6) == 6
    assert small(place) == [] and list(place.names("segments")) == ["segments/000000.parquet"]
    assert list(Ledger(place).entries()) == before
    assert Ledger(place).find("a", "3.tar", 0) == before[3] and Ledger(place).find("a", "9.tar", 0) is None
    assert Ledger(place).compact(least=1) == 0


def test_small_files_and_segments_are_read_in_one_order_and_by_layer(place):
    for layer, number in (("b", 1), ("a", 3), ("a", 1)):
        Ledger(place).commit(entry(f"{number}.tar", layer=layer))
    Ledger(place).compact(least=1)
    for layer, number in (("a", 2), ("b", 0)):
        Ledger(place).commit(entry(f"{number}.tar", layer=layer))
    Ledger(place).compact(least=1)
    Ledger(place).commit(entry("0.tar"))
    assert [(e.layer, e.shard) for e in Ledger(place).entries()] == [
        ("a", "0.tar"), ("a", "1.tar"), ("a", "2.tar"), ("a", "3.tar"), ("b", "0.tar"), ("b", "1.tar"),
    ]  # fmt: skip
    assert [e.shard for e in Ledger(place).entries(["b"])] == ["0.tar", "1.tar"]


def test_columns_hold_what_the_entries_do(place):
    filled(place, 3)
    Ledger(place).compact(least=1)
    Ledger(place).commit(entry("9.tar", kept=None, reasons={}, alarms=[]))
    rows = sorted(Ledger(place).table().to_pylist(), key=lambda row: row["shard"])
    assert len(rows) == 4
    assert (rows[0]["read"], rows[0]["kept"], rows[0]["worker"], rows[0]["alarms"]) == (3, 2, "here-1-0", 1)
    assert dict(rows[0]["seconds"]) == {"waiting": 0.5, "decoding": 2.0} and dict(rows[0]["reasons"]) == {"empty": 1}
    assert (rows[3]["kept"], rows[3]["reasons"], rows[3]["alarms"]) == (None, [], 0)


def test_a_late_worker_cannot_take_the_name_of_an_entry_that_was_rolled_away(place):
    late = Ledger(place)
    assert late.find("a", "3.tar", 0) is None, "it began while nobody had done the unit"
    filled(place)
    Ledger(place).compact(least=1)
    assert not late.commit(entry("3.tar", file="late"))
    assert found(place) == firsts() and small(place) == []


def test_a_late_worker_killed_before_it_looked_leaves_a_name_that_nobody_believes(place):
    filled(place)
    Ledger(place).compact(least=1)
    name = Ledger.name("a", "3.tar", 0)
    assert place.create(name, b'{"a": "late, and killed before it looked at the segments"}')
    assert found(place) == firsts()
    assert Ledger(place).find("a", "3.tar", 0).file == "first-3"
    assert Ledger(place).compact() == 0 and small(place) == [], "the next compaction takes it away"


def test_without_the_look_at_segments_two_would_hold_one_unit(place, monkeypatch):
    """The negative control: the same race with the check taken out."""
    late = Ledger(place)
    filled(place)
    Ledger(place).compact(least=1)
    monkeypatch.setattr(late, "_rolled", lambda *_: None)
    assert late.commit(entry("3.tar", file="late"))


class Watched(Place):
    """A place that lets others act before each of its acts."""

    def watch(self, act):
        for name in ("read", "names", "write", "create", "remove"):
            real = getattr(self, name)

            def watched(*arguments, real=real):
                act()
                return real(*arguments)

            setattr(self, name, watched)


def test_at_every_step_of_a_compaction_a_reader_finds_each_entry_once(tmp_path):
    filled(Place(tmp_path))
    looks = []
    watched = Watched(tmp_path)
    watched.watch(lambda: looks.append(found(Place(tmp_path))))
    assert Ledger(watched).compact(least=1) == 6
    assert len(looks) > 12 and all(look == firsts() for look in looks)


def test_at_every_step_of_a_reader_a_compaction_may_run_through(tmp_path):
    for step in range(12):
        folder = tmp_path / str(step)
        filled(Place(folder))
        steps = iter([False] * step + [True])
        watched = Watched(folder)
        watched.watch(lambda steps=steps, folder=folder: next(steps, False) and Ledger(Place(folder)).compact(least=1))
        assert [(e.shard, e.file) for e in Ledger(watched).entries()] == firsts()


def test_of_two_that_compact_at_once_one_does_nothing(tmp_path):
    filled(Place(tmp_path))
    watched, other = Watched(tmp_path), []
    real = watched.create
    watched.create = lambda *given: other.append(Ledger(Place(tmp_path)).compact(least=1)) or real(*given)
    assert Ledger(watched).compact(least=1) == 0 and other == [6]
    assert found(Place(tmp_path)) == firsts()


ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from captioners.core.ledger import *; print(Ledger(Place(sys.argv[1])).compact(least=1))"


@pytest.mark.parametrize("fault", ["segment_written", "entry_rolled", "entry_rolled:4"])
def test_a_killed_compaction_costs_nothing_and_the_next_ends_it(tmp_path, fault):
    filled(Place(tmp_path), 60)  # more than are rolled away at the same time
    environment = os.environ | {"CAPTIONERS_FAULT": fault}
    with subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], env=environment, cwd=ROOT) as ended:
        ended.wait(300)
    assert ended.returncode == -signal.SIGKILL
    assert small(Place(tmp_path)), "there is something left to end"
    assert found(Place(tmp_path)) == sorted(firsts(60))
    assert not Ledger(Place(tmp_path)).commit(entry("2.tar", file="late"))
    assert Ledger(Place(tmp_path)).compact(least=1) == 0
    assert found(Place(tmp_path)) == sorted(firsts(60)) and small(Place(tmp_path)) == []


def test_workers_and_compactions_at_once_give_each_unit_to_one(tmp_path):
    won, done = Counter(), threading.Event()

    def work(number):
        ledger = Ledger(Place(tmp_path))
        for unit in range(40):
            if ledger.commit(entry(f"{unit}.tar", file=f"{number}-{unit}")):
                won[f"{number}-{unit}"] += 1

    def roll():
        while not done.is_set():
            Ledger(Place(tmp_path)).compact(least=3)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    rollers = [threading.Thread(target=roll) for _ in range(2)]
    for thread in (*rollers, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    for thread in rollers:
        thread.join()
    files = [file for _, file in found(Place(tmp_path))]
    assert len(won) == 40 and sorted(files) == sorted(won), "who was told that it won is who stands"


def test_a_forgotten_unit_is_open_again_also_when_it_was_rolled_away(place):
    filled(place)
    Ledger(place).compact(least=1)
    Ledger(place).commit(entry("9.tar"))
    Ledger(place).forget([("a", "3.tar", 0), ("a", "9.tar", 0)])
    assert [shard for shard, _ in found(place)] == ["0.tar", "1.tar", "2.tar", "4.tar", "5.tar"]
    assert Ledger(place).find("a", "3.tar", 0) is None
    assert Ledger(place).commit(entry("3.tar", file="again")) and not Ledger(place).commit(entry("3.tar"))
    assert Ledger(place).compact(least=1) == 1
    assert ("3.tar", "again") in found(place) and len(found(place)) == 6
    Ledger(place).forget([("a", "3.tar", 0)])
    assert len(found(place)) == 5


def test_who_compacts_what_is_being_forgotten_brings_nothing_back(tmp_path):
    filled(Place(tmp_path))
    watched = Watched(tmp_path)
    real = watched.create
    watched.create = lambda *given: Ledger(Place(tmp_path)).forget([("a", "3.tar", 0)]) or real(*given)
    assert Ledger(watched).compact(least=1) == 0, "it had read the entry before it was forgotten"
    assert len(found(Place(tmp_path))) == 5


def test_a_damaged_entry_stays_a_small_file_and_a_damaged_segment_is_named(tmp_path):
    place = Place(tmp_path)
    filled(place)
    place.write(Ledger.name("a", "3.tar", 0), b"{")
    assert Ledger(place).compact(least=1) == 5 and len(small(place)) == 1
    with pytest.raises(UserError, match="a damaged ledger entry"):
        list(Ledger(place).entries())
    place.write("segments/000000.parquet", b"PAR1 and no more")
    with pytest.raises(UserError, match=r"000000.parquet: a damaged or missing segment of the ledger"):
        list(Ledger(place).entries())


def test_too_many_open_files_are_no_damage_and_many_segments_are_read_all_the_same(tmp_path, monkeypatch):
    place = Place(tmp_path)
    for part in range(5):
        Ledger(place).commit(entry("0.tar", part))
        assert Ledger(place).compact(least=1) == 1
    monkeypatch.setattr(segments, "_MOST_OPEN", 2)
    assert [one.part for one in Ledger(place).entries()] == [0, 1, 2, 3, 4]

    def refused(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(pq, "ParquetFile", refused)
    with pytest.raises(OSError, match="Too many open files"):
        list(Ledger(place).entries())


def test_a_segment_that_was_taken_and_never_filled_disturbs_nobody(tmp_path):
    """On file systems without hard links, a kill may leave an empty file of that name."""
    filled(Place(tmp_path))
    Place(tmp_path).write("segments/000000.parquet", b"")
    assert found(Place(tmp_path)) == firsts()
    assert Ledger(Place(tmp_path)).compact(least=1) == 6
    assert found(Place(tmp_path)) == firsts() and small(Place(tmp_path)) == []
