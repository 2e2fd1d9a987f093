"""bench reinforce: both sides do the same work, and what it tells follows from what it measured."""

import json

import pytest

from captioners.core.errors import UserError
from captioners.jobs.bench.reinforce import BenchReinforceOptions, bench_reinforce
from tests.jobs.captioned import read


def test_it_times_the_whole_stage_against_its_teachers(tmp_path):
    said = []
    options = BenchReinforceOptions(size="tiny", images=5, augmentations=3, rounds=2, threads=1, out=tmp_path)
    report, folder = bench_reinforce(options, said.append)
    assert len(report.rounds) == len(said) == 2 and all(min(pair) > 0 for pair in report.rounds)
    found = json.loads((folder / "bench.json").read_text())
    assert found["ratio"] == report.ratio and set(report.seconds) >= {"encoding", "writing"}
    written = read(tmp_path / "out.tar")
    assert len(written) == 5 and all({"npz", "paug.json"} <= set(members) for _, members in written)
    assert "crops/s a core" in report.lines()[-1]


def test_an_unknown_size_is_one_line():
    with pytest.raises(UserError, match="Did you mean 'B-32'"):
        bench_reinforce(BenchReinforceOptions(size="B-33"), print)
