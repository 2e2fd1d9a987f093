"""generate, killed with SIGKILL at random and at each fault point: the same command then gives the same bytes."""

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from captioners.cli.main import run as command
from captioners.core.run_dir import RunDir
from captioners.core.set_aside import clear_failed
from captioners.core.storage import Place
from tests.jobs import kills
from tests.jobs.shards import content, orphans

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SHARDS, SAMPLES = 12, 20
POINTS = ("before_data", "after_data", "before_entry", "after_entry")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill")
    kills.prepare(folder, SHARDS, SAMPLES)
    assert len(content(f"{folder}/whole")) == SHARDS * 3 * 2
    return folder


def test_killed_ten_times_at_random_and_nothing_is_lost_or_double(folder, capfd):
    killed = kills.kill_at_random(folder, "random", kills=10, units=6, workers=(1, 1, 2))
    assert killed == 10, "each kill met a running process"
    kills.compare(folder, "random", "whole")
    assert command(["verify", f"{folder}/random"]) == 0, capfd.readouterr()


def test_killed_at_each_fault_point_and_nothing_is_lost_or_double(folder, capfd):
    left = {}
    for point in POINTS:
        before = kills.stored(folder, "points")
        code, said = kills.finish(kills.start(folder, "points", fault=f"{point}:4"))
        assert code == -signal.SIGKILL, said
        assert kills.stored(folder, "points") - before == (4 if point == "after_entry" else 3)
        left[point] = len(orphans(f"{folder}/points"))
    assert left["before_data"] == 0 and left["after_data"] >= 1, "the fault points are where they say"
    assert left["after_entry"] == left["before_entry"] > left["after_data"]
    assert kills.finish(kills.start(folder, "points"))[0] == 0
    kills.compare(folder, "points", "whole")
    assert command(["verify", f"{folder}/points"]) == 0, capfd.readouterr()


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGTERM, 2), (signal.SIGUSR1, 1)]
)
def test_a_signal_stops_within_seconds_leaves_no_file_behind_and_says_how_to_go_on(folder, number, workers):
    run = f"stopped-{number}-{workers}"
    process = kills.start(folder, run, workers=workers)
    while kills.stored(folder, run) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    began = time.monotonic()
    process.send_signal(number)
    code, said = kills.finish(process)
    assert code == 75, said
    assert time.monotonic() - began < 60, "a hang; the machine may be busy"
    last = said.strip().splitlines()[-1]
    assert "Run the same command again" in last and f"captioners generate {folder}/{run}/recipe.yaml" in last
    assert orphans(f"{folder}/{run}") == []
    assert not list(Path(folder, run).rglob(".*.part"))
    assert content(f"{folder}/{run}").items() <= content(f"{folder}/whole").items()


def until(condition):
    end = time.monotonic() + kills.LATEST_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_two_of_the_same_command_at_once_store_each_unit_once(folder):
    one = kills.start(folder, "twice")
    until(lambda: kills.stored(folder, "twice"))
    one.send_signal(signal.SIGSTOP)  # so that the other has its share, however long it takes to begin
    other, before = kills.start(folder, "twice"), kills.stored(folder, "twice")
    until(lambda: kills.stored(folder, "twice") >= before + 7)
    one.send_signal(signal.SIGCONT)
    codes = [kills.finish(process) for process in (one, other)]
    assert [code for code, _ in codes] == [0, 0], codes
    kills.compare(folder, "twice", "whole")
    assert orphans(f"{folder}/twice") == []
    workers = Counter(entry.worker for entry in RunDir(f"{folder}/twice").entries())
    assert len(workers) == 2, f"they shared the work: {workers}"
    assert list(Place(f"{folder}/twice").names("leases")) == []


def test_a_shard_that_kills_is_set_aside_and_the_rest_is_done(folder, capfd):
    code, said = kills.finish(kills.start(folder, "poison", fault="begin 00003.tar", workers=2))
    assert code == 2, said
    assert "00003.tar is set aside" in said or "set aside: 00003.tar, for 3 workers ended over it" in said
    whole = content(f"{folder}/whole")
    assert content(f"{folder}/poison") == {unit: file for unit, file in whole.items() if unit[1] != "00003.tar"}
    assert command(["status", f"{folder}/poison"]) == 0
    assert "set aside: 00003.tar, 3 workers ended over it, the last by signal 9" in capfd.readouterr().out
    code, said = kills.finish(kills.start(folder, "poison"))
    assert code == 2, "it stays aside until someone says otherwise"
    assert clear_failed(RunDir(f"{folder}/poison")) == 1
    assert kills.finish(kills.start(folder, "poison"))[0] == 0
    kills.compare(folder, "poison", "whole")


def test_a_shard_that_kills_the_only_process_is_set_aside_at_the_fourth_start(folder):
    for _ in range(3):
        code, said = kills.finish(kills.start(folder, "alone", fault="begin 00003.tar"))
        assert code == -signal.SIGKILL, said
    code, said = kills.finish(kills.start(folder, "alone", fault="begin 00003.tar"))
    assert code == 2 and "set aside: 00003.tar" in said
    assert len(content(f"{folder}/alone")) == (SHARDS - 1) * 6
