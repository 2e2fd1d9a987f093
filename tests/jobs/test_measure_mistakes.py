"""captioners/jobs/measure where what it is given, or what lies there, cannot be used: one line, and what to do."""

import json
from pathlib import Path

import pytest

from captioners.core.errors import UserError
from captioners.data.caption_sets import sets_of_run
from captioners.jobs.measure.judge import ABSENT
from captioners.jobs.measure.table import MeasureOptions, measure_sets
from tests.jobs.drawn_runs import drawn_run, voice
from tests.kinds.test_scorer import write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return f"local-dir:{write_clip(tmp_path_factory.mktemp('clip'))[0]}"


@pytest.fixture
def run(tmp_path):
    return drawn_run(tmp_path / "run", {"short": voice("short", 2)}, count=8)


@pytest.mark.parametrize("kept", ["across/*/*.npz", "retrieval/*.parquet", "retrieval/*.npz", "frequencies/*.df.npz",
                                  "frequencies/*.captions.npz", "frequencies/*.known.npz"])  # fmt: skip
@pytest.mark.parametrize("cut", [100, 0])
def test_what_was_kept_and_is_damaged_is_named(run, clip, kept, cut):
    """Most of these ended as internal errors, and none said which file it was."""
    options = MeasureOptions(workers=1, clip=clip, references="own", all_metrics=True)
    whole = measure_sets(sets_of_run(run.url), options).as_json()
    [damaged] = Path(run.url, "measures").glob(kept)
    damaged.write_bytes(damaged.read_bytes()[:cut])
    with pytest.raises(UserError, match=rf"^{damaged}: is damaged; remove it and measure again$"):
        measure_sets(sets_of_run(run.url), options)
    damaged.unlink()
    assert measure_sets(sets_of_run(run.url), options).as_json() == whole


@pytest.mark.parametrize("said", ["{", "[]", '{"name": "x"}'])
def test_a_copy_that_does_not_say_its_judge_is_told(run, said):
    run.place.write(ABSENT, said.encode())
    with pytest.raises(UserError, match=r"judge\.json: does not say what judged the pictures; copy the run again"):
        measure_sets(sets_of_run(run.url), MeasureOptions(workers=1, clip="x"))


def test_what_one_judge_measured_is_not_shown_as_another_ones(run):
    """A copy without pictures gave the numbers of its own judge, whichever was asked for."""
    run.place.write(ABSENT, json.dumps({"name": "ViT-B-32/openai", "digest": "0" * 64}).encode())
    with pytest.raises(UserError, match=r"--clip RN50/openai: .* judged by ViT-B-32/openai; say --clip ViT-B-32/open"):
        measure_sets(sets_of_run(run.url), MeasureOptions(workers=1, clip="RN50/openai"))
