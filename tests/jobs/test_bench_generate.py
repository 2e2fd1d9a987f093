"""bench generate: both sides do the same work, and a difference is told."""

import json

import pytest

from captioners.core.errors import NeedsLookError, UserError
from captioners.jobs.bench import generate as bench
from captioners.jobs.bench.generate import BenchGenerateOptions, GenerateReport


def options(**changes):
    return BenchGenerateOptions(size="tiny", images=4, draws=2, tokens=3, rounds=1, **changes)


def test_it_measures_both_sides_over_the_same_captions(run_dir):
    told = []
    report, folder = bench.bench_generate(options(out=run_dir / "out"), told.append)
    assert len(told) == len(report.rounds) == 1 and report.ratio > 0
    assert {"encoding", "decoding", "writing"} <= set(report.seconds)
    # The engine's own round was counted as encoding of the job's, and decoding was what was left: less than nothing.
    assert all(part >= 0 for part in report.seconds.values())
    saved = json.loads((folder / "bench.json").read_text())
    assert saved["ratio"] == report.ratio and saved["images"] == 4
    assert [path.name for path in folder.iterdir()] == ["bench.json"], "shards and runs are cleared away"
    assert "random-tiny: 4 images x 2 draws" in report.lines()[0]


def test_sides_that_write_different_captions_are_no_measurement(run_dir, monkeypatch):
    alone = bench._alone
    monkeypatch.setattr(bench, "_alone", lambda *given: (1.0, dict.fromkeys(alone(*given)[1], "other")))
    with pytest.raises(NeedsLookError, match="wrote different captions"):
        bench.bench_generate(options(out=run_dir / "out"), lambda _: None)


def test_an_unknown_size_is_refused():
    with pytest.raises(UserError, match=r"no size is named 'L-15'.* Did you mean 'L-14'"):
        bench.bench_generate(BenchGenerateOptions(size="L-15"), lambda _: None)


def test_the_ratio_is_the_median_over_rounds():
    report = GenerateReport("c", 10, 1, {}, rounds=[(1.0, 1.0), (1.0, 1.2), (2.0, 2.1)])
    assert report.ratio == pytest.approx(1.05)
