"""Ablations and probes in Python: run as their commands do, found again, their numbers as a table, their page."""

from pathlib import Path

import pytest

import captioners
from captioners.core.errors import UserError
from tests.jobs import probing
from tests.jobs.test_ablate import MINIATURE


@pytest.mark.slow
def test_an_ablation_is_run_read_and_shown(run_dir):
    arms = {name: MINIATURE["arms"][name] for name in ("one", "three")}
    run = captioners.run({**MINIATURE, "captioners": {"none": "demo"}, "arms": arms}, output="compared")
    assert run == captioners.open_run("compared") == captioners.Run(Path("compared"), job="ablate")
    results = run.results().to_pylist()
    assert {row["arm"] for row in results} == set(arms)
    assert {row["seed"] for row in results} == {0}
    page = run.report()
    assert Path(page).read_text().count("<html") == 1
    assert "three" in Path(run.report("elsewhere.html")).read_text()
    with pytest.raises(UserError, match="a run of ablate has no captions"):
        run.captions()


@pytest.mark.slow
def test_a_probe_is_run_and_read(run_dir):
    run = captioners.run(probing.recipe(probing.write(run_dir, count=32), "probed"))
    assert (run.job, captioners.open_run("probed").job) == ("probe", "probe")
    rows = captioners.open_run("probed").results().to_pylist()
    assert {row["arm"] for row in rows} == {"one", "three"}
    assert all(0 <= row["value"] <= 1 for row in rows)
    with pytest.raises(UserError, match="a run of probe has no counts"):
        run.counts()
