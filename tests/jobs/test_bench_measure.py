"""The bench of measuring: its made-up set is the same every time, and so are its values however it is shared out."""

import json

import pytest

from captioners.jobs.bench import measure_worker
from captioners.jobs.bench.measure import BenchMeasureOptions, MeasureReport, bench_measure
from captioners.jobs.bench.measure_worker import Measured, Part, made_up, work
from captioners.metrics.frequencies import fit
from captioners.metrics.streaming import Sums
from captioners.metrics.tokens import words


def test_made_up_captions_are_of_their_place_alone():
    one = made_up(5000, 30, 5)
    assert one == made_up(5000, 30, 5) != made_up(0, 30, 5)
    lengths = [len(words(text)) for captions in one for text in captions]
    assert (min(lengths), max(lengths)) == (7, 14)
    shared = [len(set(words(a)) & set(words(b))) for a, b, *_ in one]
    assert 1 < sum(shared) / len(shared) < 7, "captions of an image overlap and are not equal"


def test_values_do_not_depend_on_the_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(measure_worker, "SHARD", 40)
    (tmp_path / "frequencies.npz").write_bytes(
        fit((str(k), captions) for k, captions in enumerate(made_up(0, 40, 2))).to_bytes()
    )
    found = []
    for workers in (1, 3):
        sums = Sums()
        for rank in range(workers):
            part = Part(folder=str(tmp_path), rank=rank, workers=workers, images=150, m=2, references=1)
            assert work(part).seconds > 0
            sums.merge(Sums.from_bytes((tmp_path / f"sums-{rank}.npz").read_bytes()))
        assert sums.images("CIDEr-D") == 150
        found.append(sums.to_bytes())
    assert found[0] == found[1]


def test_the_whole_of_it(tmp_path):
    said = []
    options = BenchMeasureOptions(images=60, m=2, references=1, workers=1, out=tmp_path / "run")
    report, run = bench_measure(options, said.append)
    written = json.loads((run / "bench.json").read_text())
    assert written["values"]["length"] == pytest.approx(10.5, abs=1)
    assert {"Self-CIDEr", "mBLEU-4", "BLEU-4", "CIDEr-D", "degenerate captions", "vocabulary"} <= set(written["values"])
    lines = report.lines()
    assert "60 images x 2 captions" in lines[0] and "1 process of" in lines[0]
    assert "computed, not measured" in lines[-1]
    assert len(said) == 2


def test_only_less_than_the_goal_is_extrapolated():
    report = MeasureReport(1_000_000, 5, 0, {}, fitting=1.0, merging=1.0, parts=[Measured(within=30.0, peak=10**9)] * 2)
    assert report.seconds == 32
    assert report.peak == 2 * 10**9
    assert not any("computed" in line for line in report.lines())
