"""generate with a ledger that is rolled into segments while it runs: the same captions, and nothing is made twice."""

from functools import partial

from captioners.cli.main import run as command
from captioners.core.entry import Counts, Entry
from captioners.core.ledger import Ledger
from captioners.core.run_dir import RunDir
from captioners.core.storage import Place
from captioners.executors import roller
from captioners.executors.roller import Roller
from captioners.jobs.generate import job
from captioners.jobs.runs.status import status
from tests.jobs.shards import content, write_shards

QUICK = ("-c", "random-tiny", "-n", "1", "-d", "{top_k: 5, max_tokens: 6}", "unit_samples=2", "decode_workers=0")


def test_a_run_whose_ledger_is_rolled_up_on_the_way_goes_on_and_is_the_same(run_dir, monkeypatch, capfd):
    write_shards("shards", shards=4, samples=4, broken={5})
    arguments = ("generate", "shards", *QUICK, "quarantine_ceiling=0.5")
    assert command([*arguments, "-o", "whole"]) == 0
    assert list(Place("whole").names("segments")) == [], "too few to be worth it"
    monkeypatch.setattr(job, "Roller", partial(Roller, entries=3))
    assert command([*arguments, "-o", "run", "max_shards=2"]) == 0
    assert list(Place("run").names("segments")) and content("run").items() <= content("whole").items()
    assert command([*arguments, "-o", "run"]) == 0
    assert content("run") == content("whole")
    assert len(list(Place("run").names("ledger"))) < 3
    capfd.readouterr()
    assert command([*arguments, "-o", "run"]) == 0
    out = capfd.readouterr().out
    assert "nothing is left to do" in out and "16 samples = 15 captioned + 0 filtered + 1 quarantined" in out
    assert command(["verify", "run"]) == 0, capfd.readouterr()
    found, whole = status("run"), status("whole")
    assert found.done and [m.counts for m in found.members] == [m.counts for m in whole.members]
    assert found.quarantine == whole.quarantine
    assert RunDir("run").captions().equals(RunDir("whole").captions())


def test_small_files_of_other_processes_are_rolled_up_too_now_and_then(tmp_path, monkeypatch):
    """Only what a process had heard of itself used to count: of many that store little each, none ever looked."""
    clock = {"now": 0.0}
    monkeypatch.setattr(roller.time, "monotonic", lambda: clock["now"])
    place = Place(tmp_path)
    with Roller(place, entries=3) as rolls:
        told = []
        tell = rolls.heard(told.append)
        for number in range(3):
            fields = {"file": "", "digest": "", "counts": Counts(), "start": 0, "stop": 1, "last": True, "part": 0}
            Ledger(place).commit(Entry(layer="a", fingerprint="", shard=f"{number}.tar", **fields))
        tell("soon")
        assert rolls._thread is None
        clock["now"] = 1.5 * roller._LOOK_EVERY_S
        tell("later")
        rolls._thread.join()
        assert len(list(place.names("segments"))) == 1 and list(place.names("ledger")) == []
        first = rolls._thread
        tell("soon again")
        assert rolls._thread is first and told == ["soon", "later", "soon again"]
