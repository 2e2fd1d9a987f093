import json
import signal
import subprocess
from contextlib import nullcontext

import pytest

from captioners.core.errors import NeedsLookError
from captioners.jobs.bench import train as job
from captioners.jobs.bench.train import BenchTrainOptions, Case, bench_train
from captioners.jobs.bench.train_report import CaseResult, text
from tests.models.tiny import tiny_config


def _case(**more):
    return Case(
        **{"name": "t", "size": "L-14", "context": 24, "images": 2, "config": tiny_config(), "goal": 1.0, **more}
    )


def test_every_kind_of_case_is_timed_in_turns_after_both_sides_agreed(tmp_path):
    cases = (_case(), _case(name="s", what="step"), _case(name="f", what="frozen"), _case(name="k", captions=3))
    said = []
    report, run = bench_train(BenchTrainOptions(cases=cases, rounds=2, memory=False, out=tmp_path), said.append)
    assert [len(case.rounds) for case in report.cases] == [2, 2, 2, 2]
    assert all(theirs > 0 and ours > 0 for case in report.cases for theirs, ours in case.rounds)
    assert all(case.agrees for case in report.cases)
    assert [case.gradient is None for case in report.cases] == [False, False, False, True]
    assert len(said) == 4 * 3
    assert said[1].startswith("t, round 1: open_clip ")
    assert "| t    |" in (run / "bench.md").read_text()
    assert json.loads((run / "bench.json").read_text())["cases"][0]["ratio"] == report.cases[0].ratio


def test_sides_that_differ_are_not_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(job.Sides, "compare", lambda self: (0.1, 0.0))
    with pytest.raises(NeedsLookError, match="t: ours and open_clip's loss or gradient differ"):
        bench_train(BenchTrainOptions(cases=(_case(),), memory=False, out=tmp_path), lambda _: None)


def test_peak_memory_is_that_of_a_process_of_its_own():
    sizes = [job._peak_apart(_case(), side) for side in ("open_clip", "ours")]
    assert all(size is None or 1e8 < size < 1e10 for size in sizes)


def test_memory_that_does_not_suffice_for_a_peak_leaves_it_unknown_and_a_bug_does_not(monkeypatch):
    for code, ends in ((-signal.SIGKILL, nullcontext()), (1, pytest.raises(subprocess.CalledProcessError))):
        ended = subprocess.CompletedProcess("peak", code, "", "")
        monkeypatch.setattr(job.subprocess, "run", lambda *_, ended=ended, **__: ended)
        with ends:
            assert job._peak_apart(_case(), "ours") is None


def test_the_table_says_what_was_aimed_at():
    case = CaseResult(
        "c", "what", 10, 1.8, [(2.0, 1.0), (4.0, 1.0)], {"open_clip": 2_000_000_000, "ours": 1_000_000_000}
    )
    from captioners.jobs.bench.train_report import Report

    shown = text(Report({"cpu": "x"}, [case]))
    assert "| c    | 3.00        | 1.00   | 3.00x        | 1.8x | 2.00 / 1.00    | 0.50       |" in shown
