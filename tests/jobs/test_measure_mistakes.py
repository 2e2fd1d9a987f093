"""captioners/jobs/measure where what it is given, or what lies there, cannot be used: one line, and what to do."""

import json
import re
from pathlib import Path

import pytest

from captioners.cli.main import run as command
from captioners.core.errors import NotFoundError, UserError
from captioners.data.caption_sets import sets_of_run
from captioners.data.run_pictures import RunPictures
from captioners.jobs.measure import quick
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


@pytest.mark.parametrize("option", ["--json", "--parquet"])
@pytest.mark.parametrize(
    ("file", "says"), [("none/it", "there is no folder .*none; make it"), (".", "is a folder; name a file in it")]
)
def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    run, tmp_path, capsys, monkeypatch, option, file, says
):
    """All was measured first, and then the table was lost with an internal error."""
    monkeypatch.setattr(quick, "measure_runs", lambda *_: pytest.fail("measured in vain"))
    assert command(["measure", run.url, option, str(tmp_path / file)]) == 1
    said = capsys.readouterr().err
    assert re.search(rf"{option} {tmp_path}.*: {says}", said) and said.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--references", "own"],
        ["--clip", "ViT-B-32/openai"],
        ["--json", "x"],
        ["--parquet", "x"],
        ["--all", "--common"],
    ],
)
def test_options_of_the_table_are_not_ignored_beside_a_score(run, capsys, options):
    assert command(["measure", run.url, "--per-caption", "words", *options]) == 1
    said = capsys.readouterr().err
    assert f"--per-caption words: {', '.join(one for one in options if one.startswith('--'))} is of the table" in said
    assert ("scorer=NAME" in said) == ("--clip" in options)


def test_captions_whose_pictures_were_away_are_scored_when_they_are_back(run, clip, monkeypatch, capsys):
    """They stayed without a score for ever."""
    score = ["measure", run.url, "--per-caption", "clipscore", f"scorer={clip}"]
    image = RunPictures.image

    def away(self, row):
        if int(row["key"]) >= 5:
            raise NotFoundError("not mounted")
        return image(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(RunPictures, "image", away)
        assert command(score) == 0
        said = capsys.readouterr().out
    assert ", 6 undefined" in said
    assert "6 captions have no score, as their pictures are not where the run found them" in said
    assert command(score) == 0
    assert "16 captions scored, mean" in (back := capsys.readouterr().out) and "undefined" not in back
    monkeypatch.setattr(RunPictures, "image", lambda *_: pytest.fail("looked again"))
    assert command(score) == 0
    assert "1 of 1 units were scored before" in capsys.readouterr().out
