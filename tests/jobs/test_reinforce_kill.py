"""reinforce, killed with SIGKILL at random and at each point of a commit: the same command gives the same bytes."""

import signal
from pathlib import Path

import pytest

from tests.jobs import captioned, kills
from tests.jobs import reinforce_kills as runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SHARDS, SAMPLES = 20, 250
POINTS = ("before_data", "after_data", "before_entry", "published", "after_entry")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill")
    runs.prepare(folder, SHARDS, SAMPLES)
    return folder


def test_five_thousand_samples_killed_five_times_come_out_as_undisturbed(folder):
    assert runs.kill_at_random(folder, "random", kills=5, most=3) == 5
    runs.compare(folder, "random")


def test_killed_at_each_point_of_a_commit_nothing_is_lost_or_double(folder):
    for point in POINTS:
        before = kills.stored(folder, "points")
        code, said = kills.finish(runs.start(folder, "points", fault=f"{point}:2"))
        assert code == -signal.SIGKILL, said
        stored = kills.stored(folder, "points")
        assert stored - before == (2 if point in ("after_entry", "published") else 1)
        there = sum(1 for _ in Path(folder, "points/shards").rglob("*.tar"))
        assert there == stored - (point == "after_entry"), "only the entry that was not published yet lacks its name"
    assert kills.finish(runs.start(folder, "points"))[0] == 0
    runs.compare(folder, "points")


def test_two_of_the_same_command_at_once_share_the_shards(folder):
    one, other = runs.start(folder, "twice"), runs.start(folder, "twice")
    assert [kills.finish(process)[0] for process in (one, other)] == [0, 0]
    assert captioned.digests(folder / "twice") == captioned.digests(folder / "whole")


def test_a_signal_stops_it_leaves_no_half_shard_and_says_how_to_go_on(folder):
    process = runs.start(folder, "stopped")
    runs.until(lambda: kills.stored(folder, "stopped") >= 2 or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    code, said = kills.finish(process)
    assert code == 75, said
    assert f"captioners reinforce {folder}/stopped/recipe.yaml" in said.strip().splitlines()[-1]
    found, whole = captioned.digests(folder / "stopped"), captioned.digests(folder / "whole")
    assert {name: digest for name, digest in found.items() if name.endswith(".tar")}.items() <= whole.items()
    assert not list(Path(folder, "stopped").rglob(".*.tar*"))


def test_a_shard_that_kills_is_set_aside_and_the_report_says_how_it_is_tried_again(tmp_path):
    runs.prepare(tmp_path, 4, 20)
    code, said = kills.finish(runs.start(tmp_path, "poison", fault="begin 00/00001.tar", workers=2))
    assert code == 2 and "set aside: 00/00001.tar, for 3 workers ended over it" in said
    assert said.strip().splitlines()[-1] == f"captioners retry {tmp_path}/poison --failed tries what is set aside again"
    assert kills.stored(tmp_path, "poison") == 3
    kills.to_the_end(lambda: runs.start(tmp_path, "poison"), tmp_path, "poison")
    runs.compare(tmp_path, "poison")
