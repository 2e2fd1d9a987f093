"""Leases: one holder at a time as far as advice goes, stolen when stale, and deaths over a piece of work counted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from captioners.core import leases as module
from captioners.core.leases import Lease, Leases, process
from captioners.core.storage import Place

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def elsewhere(monkeypatch):
    """Act as a process of another machine for a while."""

    def act(name, call):
        with monkeypatch.context() as patched:
            patched.setattr(module, "machine", lambda: name)
            return call()

    return act


def test_one_holds_it_until_it_is_given_back(place):
    mine, other = Leases(place), Leases(place)
    assert mine.take("0.tar") and other.take("0.tar") is None and other.take("1.tar")
    mine.release("0.tar")
    assert other.take("0.tar").deaths == 0
    other.release("1.tar", done=True)
    assert [lease.name for lease in mine.all()] == ["0.tar"]


def test_a_lease_that_is_renewed_stays_and_one_that_is_not_is_stolen(place, elsewhere):
    mine, other = Leases(place, ttl_s=0.2), Leases(place, ttl_s=0.2)
    elsewhere("far away", lambda: mine.take("0.tar"))
    for _ in range(4):
        assert other.take("0.tar") is None
        time.sleep(0.1)
        mine.renew()
    assert other.take("0.tar") is None, "the clock begins when it was seen last"
    time.sleep(0.3)
    assert other.take("0.tar").deaths == 1, "its holder may have died over it"
    mine.renew()
    mine.release("0.tar")
    assert next(other.all()).holder == other.holder, "who lost it leaves it alone"


def test_leases_of_a_context_are_renewed_and_given_back(place, elsewhere):
    other = Leases(place, ttl_s=0.4)
    with Leases(place, ttl_s=0.4) as mine:
        elsewhere("far away", lambda: mine.take("0.tar"))
        for _ in range(8):
            assert other.take("0.tar") is None
            time.sleep(0.1)
    assert other.take("0.tar").deaths == 0


PROGRAM = """
import sys, time
from captioners.core.leases import Leases
from captioners.core.storage import Place
assert Leases(Place(sys.argv[1])).take("0.tar", mark=int(sys.argv[2]))
print("held", flush=True)
time.sleep(60)
"""


def die(place, mark):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, place.url, str(mark)], stdout=subprocess.PIPE, cwd=ROOT
    ) as held:
        assert held.stdout.readline() == b"held\n"
        assert Leases(place).take("0.tar") is None, "it lives"
        held.send_signal(signal.SIGKILL)


def test_the_lease_of_a_dead_process_of_this_machine_is_stolen_at_once_and_its_deaths_counted(place):
    die(place, 0)
    die(place, 0)
    mine = Leases(place)
    assert mine.take("0.tar", 0).deaths == 2
    mine.release("0.tar")
    assert mine.take("0.tar", 0).deaths == 2, "they outlive who held it last"
    mine.release("0.tar")
    assert mine.take("0.tar", 4).deaths == 0, "it got on since"
    mine.release("0.tar", done=True)
    assert list(mine.all()) == []


def test_a_worker_of_this_process_that_dies_counts_too(place):
    mine = Leases(place)
    mine.take("0.tar", 1)
    assert mine.lost("0.tar", 1).deaths == 1
    assert mine.take("0.tar", 1).deaths == 1 and mine.lost("0.tar", 1).deaths == 2
    mine.take("0.tar", 1)
    assert mine.lost("0.tar", 2).deaths == 1, "a unit was stored in between"


def test_a_half_written_lease_is_nobody_s(place):
    place.write("leases/0.tar.json", b'{"name": "0.t')
    mine = Leases(place, ttl_s=0.1)
    assert mine.take("0.tar") is None, "it may be another's who is writing it"
    time.sleep(0.2)
    assert mine.take("0.tar") == mine._read("0.tar")


def test_a_process_is_told_from_another_of_its_number():
    me = process(os.getpid())
    assert me.startswith(f"{os.getpid()}.") and me == process(os.getpid())
    assert process(2**22 + 1).endswith(".gone")
    assert Lease(name="a", process=me).process == me
