"""A worker's signs of life: what counts as one, what a unit may take, and that a hung process ends itself."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from captioners.executors.heartbeat import Heartbeat


@pytest.fixture
def now(monkeypatch):
    clock = {"now": 1000.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])
    return lambda seconds: clock.update(now=clock["now"] + seconds)


def test_silence_is_trouble_only_at_work(now):
    heart = Heartbeat(60, print)
    now(100)
    assert heart.trouble() == "", "nothing is being done"
    with heart.at_work():
        now(50)
        heart.beat()
        now(50)
        assert heart.trouble() == ""
        now(20)
        assert "no sign of life for 70 s" in heart.trouble()


def test_waiting_for_a_task_is_no_silence(now):
    heart = Heartbeat(60, print)

    def tasks():
        yield 1
        now(500)
        assert heart.trouble() == ""
        yield 2

    with heart.at_work():
        assert list(heart.resting(tasks())) == [1, 2]
        assert heart.trouble() == ""


def test_a_unit_may_take_ten_times_the_median_and_at_least_the_patience(now):
    heart = Heartbeat(60, print)
    with heart.at_work():
        for seconds in (5, 20, 30, 30, 40):
            assert heart.unit_limit_s is None, "too few are known"
            now(seconds)
            part = object()
            heart.stored(part)
            heart.stored(part)  # another member's captions of the same part
        assert heart.unit_limit_s == 300
        for _ in range(6):
            now(50)
            heart.beat()
        assert heart.trouble() == ""
        now(10)
        heart.beat()
        assert "a unit took more than 300 s" in heart.trouble()
        heart.stored(object())
        assert heart.trouble() == ""


def test_waiting_for_a_task_is_none_of_a_unit_s_time(now):
    """The wait used to count: a worker ended itself as soon as it got a task after a long wait."""
    heart = Heartbeat(60, print)

    def tasks():
        now(500)
        yield 1

    with heart.at_work():
        for _ in range(5):
            now(5)
            heart.stored(object())
        assert list(heart.resting(tasks())) == [1]
        assert heart.trouble() == ""
        for _ in range(2):
            now(40)
            heart.beat()
        assert "a unit took more than 60 s" in heart.trouble()


PROGRAM = """
import time
from captioners.executors.heartbeat import Heartbeat
def hang():
    time.sleep(60)
with Heartbeat(0.3, lambda said: print(said, flush=True)) as heart:
    time.sleep(0.8)
    print("rested", flush=True)
    with heart.at_work():
        hang()
"""


def test_a_hung_process_ends_itself_and_says_where_it_hung():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as hung:
        said = hung.stdout.read()
    assert hung.returncode == 75
    assert said.startswith("rested\nthis worker ended itself: no sign of life for")
    assert "in hang" in said
