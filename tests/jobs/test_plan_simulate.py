"""The simulation against runs worked out by hand."""

from itertools import islice
from math import inf

import pytest

from captioners.jobs.plan.simulate import Task, exponential, simulate, speeds


def never(_):
    return iter(())


def at(**times):
    """Failures of workers named w0, w1 ...: the times between them."""
    return lambda worker: iter(times.get(f"w{worker}", ()))


def run(tasks, slowness, fails=never, back_after=5.0, lease=2.0):
    return simulate(tasks, slowness, fails, back_after=back_after, lease=lease)


def test_without_failures_tasks_fill_the_workers():
    out = run([Task(5, 2.0)] * 8, [1.0] * 4)  # 8 tasks of 10 s on 4 workers: two rounds
    assert (out.makespan, out.work, out.lost, out.failures, out.waste) == (20, 80, 0, 0, 0)
    assert run([Task(5, 2.0)] * 9, [1.0] * 4).makespan == 30  # one more, alone at the end
    assert run([Task(5, 2.0)] * 9, [1.0] * 4).waste == pytest.approx(1 - 90 / 120)


def test_a_straggler_holds_up_the_end():
    # Fast: 0-10, 10-20, 20-30. Slow, three times: 0-30. Four tasks are done at 30 instead of 20.
    out = run([Task(5, 2.0)] * 4, [3.0, 1.0])
    assert (out.makespan, out.work) == (30, 60)
    assert run([Task(5, 2.0)] * 4, [1.0, 1.0]).makespan == 20
    # Both are free at 30. The fifth goes to the first of them: to the slow one until 60, or to the fast one until 40.
    assert run([Task(5, 2.0)] * 5, [3.0, 1.0]).makespan == 60
    assert run([Task(5, 2.0)] * 5, [1.0, 3.0]).makespan == 40


def test_a_failure_loses_the_unit_in_hand_and_no_other():
    # Unit 1: 0-2, unit 2: 2-4, failed at 5 in unit 3; its lease is out at 7, but alone the worker is back at 10: 10-16.
    out = run([Task(5, 2.0)], [1.0], at(w0=[5.0]))
    assert (out.makespan, out.lost, out.work, out.failures) == (16, 1, 10, 1)
    assert out.waste == pytest.approx(1 - 10 / 16)
    # One unit of 10 s loses all five.
    whole = run([Task(1, 10.0)], [1.0], at(w0=[5.0]))
    assert (whole.makespan, whole.lost) == (20, 5)


def test_another_worker_takes_over_when_the_lease_is_out():
    # The second is free at 4, and waits for the lease until 7: 7-13, before the first is back.
    out = run([Task(5, 2.0), Task(2, 2.0)], [1.0, 1.0], at(w0=[5.0]))
    assert (out.makespan, out.lost, out.failures) == (13, 1, 1)
    # What was begun goes before what was not: 8-14, then the fresh one 14-18 by it or 10-14 by the first.
    out = run([Task(5, 2.0), Task(4, 2.0), Task(2, 2.0)], [1.0, 1.0], at(w0=[5.0]))
    assert out.makespan == 14


def test_a_worker_that_fails_again_and_again_still_gets_on():
    out = run([Task(6, 2.0)], [1.0], at(w0=[7.0, 7.0]))
    assert (out.makespan, out.lost, out.failures) == (18, 1, 1)  # 0-6, failed at 7, back at 12: 12-18
    never_done = run([Task(1, 10.0)], [1.0], at(w0=[5.0] * 3))
    assert (never_done.makespan, never_done.lost) == (3 * 10 + 10, 15)


def test_failures_before_the_first_unit_was_taken_cost_nothing_but_the_time_away():
    # The second is free from 2 on, fails at 3 while idle, and is back at 8: takes the first one's task then.
    out = run([Task(4, 2.0), Task(1, 2.0)], [1.0, 1.0], at(w0=[5.0], w1=[3.0]), back_after=5.0, lease=2.5)
    assert (out.makespan, out.lost, out.failures) == (12, 1, 1)  # 5 + 2.5: the lease is out; 8-12: units 3 and 4


def test_many_failures_lose_half_a_unit_each_on_average():
    fails = lambda worker: exponential(3600.0, 0, worker)  # noqa: E731  # a unit's time is short beside it
    out = run([Task(50, 60.0)] * 400, [1.0] * 40, fails, back_after=0.0, lease=0.0)
    assert out.work == pytest.approx(400 * 50 * 60)
    assert out.failures == pytest.approx((out.work + out.lost) / 3600, rel=0.15)
    assert out.lost / out.failures == pytest.approx(30, rel=0.1)
    assert out.makespan >= (out.work + out.lost) / 40
    assert out == run([Task(50, 60.0)] * 400, [1.0] * 40, fails, back_after=0.0, lease=0.0)


def test_times_between_failures_are_exponential_and_of_the_seed_alone():
    found = list(islice(exponential(10.0, 1, 0), 4000))
    assert sum(found) / 4000 == pytest.approx(10, rel=0.05)
    assert sum(time > 10 for time in found) / 4000 == pytest.approx(0.3679, abs=0.02)
    assert found[:5] == list(islice(exponential(10.0, 1, 0), 5))
    assert found[:5] != list(islice(exponential(10.0, 1, 1), 5))
    assert list(exponential(inf, 0, 0)) == []


def test_stragglers_are_a_share_of_the_workers():
    assert sorted(speeds(100, 0.05, 2.0)) == [1.0] * 95 + [2.0] * 5
    assert speeds(3, 0.0, 2.0) == speeds(3, 0.1, 2.0) == [1.0] * 3
