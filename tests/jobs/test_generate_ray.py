"""generate by Ray actors: the same files as by local workers, byte for byte, also when an actor is killed."""

import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from captioners.cli.main import run as command
from tests.jobs import kills
from tests.jobs.shards import content

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(find_spec("ray") is None, reason="needs captioners[ray]"),
]
SHARDS, SAMPLES = 8, 20
RAY = "executor={kind: ray, address: local, most: 2, cpus: 0.5}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    kills.prepare(folder, SHARDS, SAMPLES)
    return folder


def test_one_worker_two_and_ray_actors_write_the_same_bytes(folder):
    for run, workers, more in (("two", 2, ()), ("ray", 1, (RAY,))):
        code, said = kills.finish(kills.start(folder, run, workers=workers, more=more))
        assert code == 0, said
        kills.compare(folder, run, "whole")
    assert len(content(f"{folder}/whole")) == SHARDS * 6


def actors(driver):
    """The processes of Ray actors that do the work of a driver's cluster."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words, environment = stat.read_bytes(), stat.with_name("environ").read_bytes()
        except OSError:
            continue
        if b"ray::_Actor" in words and f"CAPTIONERS_TEST={driver}".encode() in environment:
            found.append(int(stat.parent.name))
    return found


def test_a_killed_actor_loses_nothing_and_repeats_nothing(folder, monkeypatch, capfd):
    monkeypatch.setenv("CAPTIONERS_TEST", str(os.getpid()))
    process = kills.start(folder, "killed", more=(RAY,))
    while kills.stored(folder, "killed") < 4:
        assert process.poll() is None, kills.finish(process)
        time.sleep(0.02)
    pids = actors(os.getpid())
    assert pids, "there is an actor to kill"
    os.kill(pids[0], signal.SIGKILL)
    before = content(f"{folder}/killed")
    code, said = kills.finish(process)
    assert code == 0, said
    kills.compare(folder, "killed", "whole")
    assert before.items() <= content(f"{folder}/killed").items()
    assert command(["verify", f"{folder}/killed"]) == 0, capfd.readouterr()


def test_no_cluster_is_one_clear_line(folder):
    code, said = kills.finish(kills.start(folder, "none", more=("executor={kind: ray, address: '127.0.0.1:1'}",)))
    assert code == 1 and "executor ray: no cluster at '127.0.0.1:1'" in said, said
