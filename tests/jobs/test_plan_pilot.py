"""Measuring by a small run, and planning what a run has left: real runs of a tiny captioner."""

from pathlib import Path

import pytest

from captioners.core.recipe import read_recipe
from captioners.core.run_dir import RunDir
from captioners.jobs.generate.job import generate
from captioners.jobs.plan.calibration import load
from captioners.jobs.plan.captioning import Asked
from captioners.jobs.plan.job import Measured, plan, plan_rest
from tests.jobs.shards import write_shards

RECIPE = """job: generate
source: {kind: webdataset, inputs: [SHARDS]}
members:
  - {name: drawn, captioner: random-tiny, decoding: {top_k: 5, max_tokens: 6, min_tokens: 6}, draws: 3}
  - {name: beam, captioner: random-tiny, decoding: {beam: {width: 2, max_tokens: 4, min_tokens: 4}}, draws: 1}
rules: {refuse: []}
unit_samples: 5
decode_workers: 0
"""


@pytest.fixture
def recipe(tmp_path):
    write_shards(tmp_path / "shards", shards=3, samples=10)
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE.replace("SHARDS", str(tmp_path / "shards")))
    return str(file)


def test_a_recipe_is_measured_on_its_own_images(tmp_path, recipe):
    said = []
    asked, file = Asked(price_per_gpu_hour=1.0), tmp_path / "cal.json"
    made = plan(recipe, asked=asked, measured=Measured(save=file, images=16), say=said.append)
    assert said == ["measuring drawn, beam on 16 images"]
    assert made.basis == "measured"
    known = load(file)
    (voice,) = known.voices
    assert sum(unit.images for unit in voice.units) == 16
    spent = sum(sum(unit.seconds.values()) for unit in voice.units)
    rate = made.row("images/s")
    assert rate.low <= 16 / spent <= rate.high
    assert rate.known == "measured"
    assert [layer.lengths for layer in voice.layers] == [{6: 48}, {4: 16}]
    assert ends(made.row("captioner 1: tokens")) == (4, 6)
    assert known.reading.samples == 16
    assert known.encodes == (((0,),),)
    # A tar has no count: its bytes over those of a sample (and what pads so small a tar to 10,240 bytes).
    images = made.row("images")
    assert images.low == pytest.approx(30, rel=0.25)
    assert images.known == "modelled"
    assert ends(made.row("machines")) == ends(made.row("worker-hours"))
    again = plan(recipe, asked=asked, measured=Measured(file))
    assert again.sections == made.sections
    four = plan(recipe, asked=Asked(gpus="this:4"), measured=Measured(file))
    assert four.row("worker-hours") == made.row("worker-hours")
    assert four.row("hours").low == pytest.approx(made.row("hours").low / 3)  # three shards
    assert four.basis == "scaled from a measurement"
    elsewhere = plan(recipe, asked=Asked(gpus="h100:8"), measured=Measured(file))
    assert elsewhere.basis == "modelled, not measured"
    assert elsewhere.row("captions written") == made.row("captions written")
    assert not list(Path("runs").glob("plan*"))


def test_a_recipe_without_inputs_is_measured_on_the_packages_photos(recipe):
    made = plan(recipe, ["source.inputs=[]"], assume=["images=1000"], measured=Measured(images=8))
    assert made.row("images").low == 1000
    assert made.row("bytes_per_image").known == "assumed"  # of no photos of the user's
    with pytest.raises(KeyError):
        made.row("reading the source")


def test_captions_of_photos_are_planned_like_a_run(tmp_path, recipe):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        (photos / f"{number}.png").write_bytes(b"x" * 100)
    text = f"job: caption\ncaptioner: random-tiny\ninputs: [{photos}]\ndecoding: {{beam: {{width: 2}}}}\n"
    Path(recipe).write_text(text)
    made = plan(recipe, asked=Asked(gpus="l4"))
    assert (made.row("images").low, made.row("captions").low) == (3, 3)
    assert made.job == "caption"


def test_what_is_left_of_a_run_is_planned_from_its_ledger(tmp_path, recipe):
    changed = [f"output={tmp_path / 'run'}", "max_shards=1"]
    generate(read_recipe(recipe, changed).options)
    run = RunDir(tmp_path / "run")
    run.write_recipe(run.recipe_text().replace("max_shards: 1", "max_shards: null"))
    made = plan_rest(str(tmp_path / "run"))
    spent = sum(sum(entry.seconds.values()) for entry in run.ledger.entries())
    left = made.row("images")
    assert left.low <= 20 <= left.high
    assert left.high - left.low < 4  # shards of nearly equal bytes
    hours = made.row("worker-hours")
    assert hours.low <= spent / 10 * 20 / 3600 * 1.15
    assert hours.high >= spent / 10 * 20 / 3600 * 0.85
    assert made.row("shards").high == pytest.approx(2, rel=0.2)
    assert made.row("layer files").low >= 4
    generate(read_recipe(recipe, [f"output={tmp_path / 'run'}"]).options)
    done = plan_rest(str(tmp_path / "run"))
    assert ends(done.row("images")) == (0, 0)
    assert done.row("worker-hours").high == 0


def ends(row):
    return row.low, row.high
