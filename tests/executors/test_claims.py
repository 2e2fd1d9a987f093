"""Claims: what a process hands to its workers, when others have the rest and when a shard kills."""

from collections import deque
from dataclasses import replace

import pytest

from captioners.core.entry import Counts, Entry
from captioners.core.leases import Leases
from captioners.core.run_dir import RunDir
from captioners.core.set_aside import clear_failed, failed_units
from captioners.data.source import Shard
from captioners.executors import claims as module
from captioners.executors.claims import Claims
from captioners.executors.work import Task

PASSES = [("a", "b")]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.0)
    return RunDir(tmp_path / "run")


def tasks(count=4):
    return [Task(0, Shard(path=f"{number}.tar", size=1, stamp="")) for number in range(count)]


def claims(run, count=4, **more):
    return Claims(run, tasks(count), PASSES, Leases(run.place), **more)


def paths(given):
    return [task.shard.path for task in given]


def test_two_processes_share_the_shards_and_both_end(run):
    done = []
    one, two = claims(run, done=done.append), claims(run)
    taken = [one.take([]), two.take([]), one.take([]), two.take([])]
    assert paths(taken) == ["0.tar", "1.tar", "2.tar", "3.tar"]
    assert one.take([]) is None and one.left
    for task in taken[:1]:
        one.finished(task)
    assert two.take([]).shard.path == "0.tar", "nothing says that it is done: it has no units"
    assert paths(done) == ["0.tar"]


def test_one_process_leaves_others_their_share_also_of_small_shards(run, monkeypatch):
    clock = {"now": 100.0}
    monkeypatch.setattr(module.time, "monotonic", lambda: clock["now"])
    one = claims(run, count=40)
    held = [one.take([])]
    held.append(one.take(held))
    assert one.take(held) is None, "two, while its pace is unknown"
    clock["now"] += 20.0
    for task in held:
        one.finished(task)
    held = []
    while (task := one.take(held)) is not None:
        held.append(task)
    assert len(held) == 6, "a minute's work at a shard in ten seconds"


def held_by(one, count=None, size=0):
    """How many shards a worker gets before the first of them is done."""
    one._waiting = deque(Task(0, replace(task.shard, count=count, size=size)) for task in one._waiting)
    held = []
    while (task := one.take(held)) is not None:
        held.append(task)
    return len(held)


def test_a_worker_holds_half_its_share_of_small_shards_up_to_a_thousand_samples(run):
    """It used to hold two, whatever they were, so a slow machine's stream ran dry after every two shards."""
    assert held_by(claims(run, count=12, workers=1), count=40) == 6, "others may join"
    run = RunDir(f"{run.url}-2")
    assert held_by(claims(run, count=12, workers=2), count=40) == 3, "the others' share is theirs"
    for number, (sizes, held) in enumerate([({"count": 300}, 4), ({"size": 20_000_000}, 3), ({"count": 5000}, 2)]):
        at_work = claims(RunDir(f"{run.url}-{number}"), count=100, workers=1)
        assert held_by(at_work, **sizes) == held
    assert held_by(claims(RunDir(f"{run.url}-n"), count=200, workers=1), count=1) == 50, "if it dies, all are suspects"
    assert held_by(claims(RunDir(f"{run.url}-0"), count=100), count=40) == 2, "nobody knows what others would lack"


def test_what_another_process_finished_is_not_taken_again(run, monkeypatch):
    done = []
    one = claims(run, done=done.append)
    monkeypatch.setattr(one, "_stored", lambda task: (2, task.shard.path != "2.tar"))
    assert one.take([]).shard.path == "2.tar"
    assert paths(done) == ["0.tar", "1.tar"] and next(iter(Leases(run.place).all())).name.startswith("2.tar")


def test_what_others_did_far_ahead_is_asked_of_the_whole_ledger_at_once(run, monkeypatch):
    """Each unit of each shard used to be asked for, ten requests a shard for ten members."""
    done, asked = [], []
    one, find = claims(run, count=60, done=done.append), run.ledger.find
    for shard in paths(tasks(50)):
        for member in "ab":
            counts = Counts(read=1, captioned=1, rows=1)
            run.ledger.commit(
                Entry(
                    layer=member,
                    fingerprint="f",
                    shard=shard,
                    part=0,
                    start=0,
                    stop=1,
                    counts=counts,
                    file="",
                    digest="",
                    last=(shard, member) != ("40.tar", "b"),
                )
            )
    monkeypatch.setattr(run.ledger, "find", lambda *unit: asked.append(unit[1]) or find(*unit))
    assert one.take([]).shard.path == "40.tar", "one of its members has it to its end, the other not"
    assert paths(done) == paths(tasks(40)) and len(set(asked)) == module._IN_A_ROW + 1
    assert one.take([]).shard.path == "50.tar" and len(done) == 49


def test_a_shard_that_kills_is_tried_alone_and_set_aside_after_three_deaths(run):
    said = []
    one = claims(run, say=said.append)
    first, second = one.take([]), one.take([])
    one.lost(first, "by signal 9")
    one.lost(second, "by signal 9")
    held = one.take([])
    assert held.shard.path == "2.tar" and not held.alone, "those that are not suspected come first"
    assert one.take([held]).shard.path == "3.tar"
    assert one.take([held]) is None, "a suspect waits until nothing is beside it"
    suspect = one.take([])
    assert suspect.shard.path == "0.tar" and suspect.alone
    assert one.take([suspect]) is None, "and nothing is put beside it"
    one.lost(suspect, "by signal 9")
    other = one.take([])
    assert other.shard.path == "1.tar"
    one.finished(other)
    one.lost(one.take([]), "by signal 11")
    assert one.take([]) is None
    (failed,) = failed_units(run)
    assert (failed.shard, failed.members, failed.deaths, failed.how) == ("0.tar", ("a", "b"), 3, "by signal 11")
    assert "0.tar is set aside: 3 workers ended over it, the last by signal 11" in said[0]
    assert one.left


def test_what_is_set_aside_stays_so_until_it_is_cleared(run):
    for _ in range(3):
        one = claims(run, count=1)
        one.lost(one.take([]), "by signal 9")
    assert claims(run, count=1).left == 0, "another start leaves it alone"
    assert clear_failed(run) == 1
    again = claims(run, count=1)
    assert not again.take([]).alone and failed_units(run) == []


def test_what_one_process_sets_aside_kills_no_worker_of_those_that_run_beside_it(run):
    """What is set aside used to be read at the start alone, and the lease that knew of the deaths was gone."""
    said = []
    one, beside = claims(run, count=1), claims(run, count=1, say=said.append)
    for _ in range(3):
        assert beside.left
        one.lost(one.take([]), "by signal 9")
    assert (beside.take([]), beside.left, said) == (None, 0, [])
    assert list(Leases(run.place).all()) == [], "and its lease is nobody's"
    for_others = Claims(run, tasks(1), [("c",)], Leases(run.place))
    assert for_others.take([]) is not None, "other members are another matter"


def test_a_task_of_a_worker_that_left_is_another_s_at_once(run):
    one = claims(run, count=1)
    task = one.take([])
    one.returned(task)
    assert one.take([]) == task


def test_one_shard_is_in_one_place_also_where_members_are_loaded_together_otherwise(run):
    apart = [(member,) for member in PASSES[0]]
    shard = tasks(1)[0].shard
    one = Claims(run, [Task(0, shard), Task(1, shard)], apart, Leases(run.place))
    first = one.take([])
    assert (first.number, one.take([first])) == (0, None), "not beside itself either"
    assert claims(run, count=1).take([]) is None
    one.finished(first)
    second = one.take([])
    assert second.number == 1
    one.finished(second)
    assert not one.left and claims(run, count=1).take([]) is not None


def test_what_is_set_aside_for_some_members_is_tried_for_others(run):
    for _ in range(3):
        one = claims(run, count=1)
        one.lost(one.take([]), "by signal 9")
    more = [(*PASSES[0], "c")]
    assert Claims(run, tasks(1), more, Leases(run.place)).take([]) is not None
