"""A bundle of an ablation: made again without pictures, equal to the last digit; one altered number fails by name."""

import json
import os
import shutil
from dataclasses import replace
from hashlib import sha256
from itertools import combinations, pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captioners.cli.main import run as captioners
from captioners.core.errors import NotFoundError, UserError
from captioners.core.recipe import options_from
from captioners.core.run_dir import RunDir
from captioners.data.run_pictures import RunPictures
from captioners.jobs.ablate import job
from captioners.jobs.ablate.declared import declare
from captioners.jobs.measure import judge
from captioners.jobs.probe.job import ProbeRun
from captioners.jobs.probe.results import Trained, append
from captioners.jobs.publish.bundle import MANIFEST, manifest
from captioners.jobs.publish.check import check_bundle
from captioners.jobs.publish.job import publish
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.metrics.tokens import split_all
from captioners.report.ablation import read_ablation
from tests.kinds.test_scorer import write_clip

RECIPE = {
    "job": "ablate",
    "source": {"kind": "drawn", "split": "caption", "count": 8},
    "captioners": {"demo": "demo", "gone": "runs/nowhere"},
    "arms": {
        "one": {"members": [{"captioner": "demo", "draws": 1}]},
        "three": {"members": [{"captioner": "demo", "draws": 3}]},
        "two ways": {
            "members": [
                {"captioner": "demo", "draws": 2},
                {"captioner": "demo", "draws": 1, "decoding": {"top_k": 9, "min_tokens": 1, "max_tokens": 12}},
            ]
        },
        "five": {"members": [{"captioner": "demo", "draws": 5}]},
        "lost": {"members": [{"captioner": "gone", "draws": 2}]},
    },
    "decoding": {"top_p": 0.9, "min_tokens": 1, "max_tokens": 12},
    "measure": {"references": "own", "workers": 1},
    "probe": {"seeds": [0, 1], "distillation_weights": [0.0]},
    "declare": {"primary": "average", "contrasts": [["three", "one"]]},
    "gallery": 0,
}


def students(recipe, arms, maker, _book, _say):
    """Stand for the probe: students whose results are known."""
    declare(recipe, maker.out)
    (maker.out / "probe").mkdir(exist_ok=True)
    trained = [
        Trained(row.name, seed, 0.0, "a run", "weights", 1.0, {"average": 0.25 + 0.125 * row.m + 0.0625 * seed})
        for row in arms.to_probe
        for seed in (0, 1)
    ]
    # Results of a setting that was changed and changed back, and of a seed that is no longer asked for.
    for other in (replace(trained[0], run="other", values={"average": 0.0}), replace(trained[0], seed=7)):
        append(maker.out / "probe", other)
    for one in trained:
        append(maker.out / "probe", one)
    append(maker.out / "probe", replace(trained[0], run="other", values={"average": 0.0}))
    chance = {"average": 0.125}
    run = ProbeRun(directory="", results=[], contrasts=[], used=trained, chance=chance)
    (maker.out / "probe/probe.json").write_text(json.dumps(run.as_json()))
    arms.probed(run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An ablation, and its bundle."""
    out = tmp_path_factory.mktemp("ablation") / "it"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "probe_arms", students)
        job.ablate(options_from(AblateRecipe, {**RECIPE, "output": str(out)}))
    publish(out, "bundle")
    return out


@pytest.fixture
def bundle(whole, tmp_path):
    return shutil.copytree(whole / "bundle", tmp_path / "bundle")


def sign(bundle):
    """Make the manifest fit again, as somebody would who alters a number on purpose."""
    files = [file for file in bundle.rglob("*") if file.is_file() and file.name != MANIFEST]
    digests = {file.relative_to(bundle).as_posix(): sha256(file.read_bytes()).hexdigest() for file in files}
    (bundle / MANIFEST).write_bytes(manifest(digests))


def alter(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_everything_is_made_again_to_the_last_digit_and_without_pictures(bundle):
    found = check_bundle(bundle)
    assert found.wrong == []
    assert found.rows == 4
    assert found.numbers > 300
    names = {file.name.rsplit(".", 1)[-1] for file in bundle.rglob("*") if file.is_file()}
    assert names <= {"json", "jsonl", "yaml", "parquet", "npz"}  # no picture, no weights
    assert not list(bundle.glob("captions/measures/within/*"))


def test_diversity_is_compared_at_one_number_of_captions_and_the_cell_says_so(whole):
    """The oracle: Div-2 of every three of five captions, image by image. Once, five stood beside three."""
    found = read_ablation((whole / "ablation.json").read_bytes())
    five = next(arm for arm in found.arms if arm.name == "five")
    told = {}
    for row in RunDir(whole / "captions").captions().to_pylist():
        if "top_p" in row["member"]:
            told.setdefault(row["key"], []).append(split_all([row["text"]])[0])

    def div_2(captions):
        return len({pair for words in captions for pair in pairwise(words)}) / sum(map(len, captions))

    means = [sum(map(div_2, some)) / len(some) for some in (list(combinations(said, 3)) for said in told.values())]
    assert five.cells["Div-2"].why == "at 3 of 5 captions"
    assert five.cells["Div-2"].value == pytest.approx(sum(means) / len(means))
    assert five.cells["facts told"].why == ""  # what is told is told by all five
    assert next(arm for arm in found.arms if arm.name == "three").cells["Div-2"].why == ""


def test_the_captions_are_parquet_that_anybody_reads(bundle):
    rows = pa.concat_tables([pq.read_table(file) for file in bundle.glob("captions/layers/*/*.parquet")])
    assert rows.num_rows == 8 * (5 + 1)
    (file,) = (bundle / "captions" / "told").glob("*.parquet")
    told = pq.read_table(file).to_pylist()
    assert len(told) == 8
    assert all(row["captions"] and "scene" in json.loads(row["meta"]) for row in told)


def test_an_altered_cell_is_named(bundle):
    table = bundle / "ablation.json"
    told = json.loads(table.read_text())
    told["arms"][1]["cells"]["facts told"]["value"] += 0.001
    table.write_text(json.dumps(told))
    assert [line.split(" (")[0] for line in check_bundle(bundle).wrong] == ["ablation.json: was altered"]
    sign(bundle)
    (line,) = check_bundle(bundle).wrong
    assert line.startswith("arm three, cells, facts told, value: the bundle claims 0.")


def test_whatever_else_is_altered_is_named(bundle):
    """One change each to what once was compared by its name alone, or not at all."""
    table = bundle / "ablation.json"
    told = json.loads(table.read_text())
    told["contrasts"].insert(0, {**told["contrasts"][0], "difference": 0.5})
    told["chance"]["average"] = 0.5
    told["declared"]["changes"] = [{"what": "margin", "before": "0.5", "after": "0.02"}]
    told["arms"][1]["members"][0]["draws"] = 99
    told["notes"].append("Control: so it is.")
    told["saturation"].append(told["saturation"][0])
    told["recipe"] = "job: ablate"
    table.write_text(json.dumps(told))
    sign(bundle)
    wrong = check_bundle(bundle).wrong
    for name in (
        "three - one, average, λ 0, difference", "chance, average", "declared, changes 1, what",
        "arm three, members 1, draws", "notes 1", "recipe",
    ):  # fmt: skip
        assert any(line.startswith(f"{name}: ") for line in wrong), name
    assert len([line for line in wrong if line.startswith(told["saturation"][0]["name"])]) > 2


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_nothing_but_plain_files_is_opened(bundle, kind):
    strange = bundle / "probe" / "strange"
    strange.symlink_to("/") if kind == "link" else os.mkfifo(strange)
    assert check_bundle(bundle).wrong == ["probe/strange: is a link, or no plain file"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("references: own", "references: elsewhere.jsonl", "references of elsewhere.jsonl are not in a bundle"),
        ("clip: null", "clip: hf-hub:someone/evil", "captions/judge.json: is not in the bundle"),
    ],
)
def test_a_strangers_recipe_opens_nothing(bundle, old, new, says):
    alter(bundle / "recipe.yaml", old, new)
    sign(bundle)
    with pytest.raises(UserError, match=says):
        check_bundle(bundle)


def test_what_lacks_or_is_cut_is_said_in_a_line(bundle):
    (file,) = bundle.glob("captions/told/*.parquet")
    file.write_bytes(file.read_bytes()[:50])
    sign(bundle)
    wrong = check_bundle(bundle).wrong
    assert any(line.startswith("arm one, reason: ") and "gone or damaged" in line for line in wrong)
    (bundle / "captions/told/about.json").unlink()
    sign(bundle)
    with pytest.raises(UserError, match=r"captions/told/about.json: is not in the bundle"):
        check_bundle(bundle)
    (bundle / "ablation.json").unlink()
    sign(bundle)
    with pytest.raises(NotFoundError, match=r"the bundle has no ablation.json"):
        check_bundle(bundle)


def test_an_altered_caption_is_named_by_the_cells_that_it_changes(bundle):
    (file,) = bundle.glob("captions/layers/demo.*top_p*/*.parquet")
    table = pq.read_table(file)
    texts = table["text"].to_pylist()
    texts[0] = "a red circle and a red circle and a red circle"
    place = table.schema.get_field_index("text")
    pq.write_table(
        table.set_column(place, table.schema.field(place), pa.array(texts, table.schema.field(place).type)), file
    )
    sign(bundle)
    wrong = check_bundle(bundle).wrong
    assert any(line.startswith("arm one, cells, length, value: ") for line in wrong)
    assert any(line.startswith("arm three, ") for line in wrong)


def test_an_altered_result_is_named_with_what_follows_from_it(bundle):
    alter(bundle / "probe" / "used.jsonl", '"value": 0.375', '"value": 0.376')
    sign(bundle)
    wrong = check_bundle(bundle).wrong
    assert wrong[0] == "arm one, probe, 0, average, 0: the bundle claims 0.375, and what it carries gives 0.376"
    assert any(line.startswith("three - one, average, λ 0, difference: ") for line in wrong)


def test_an_altered_contrast_is_named(bundle):
    alter(bundle / "ablation.json", '"difference": 0.25,', '"difference": 0.75,')
    sign(bundle)
    (line,) = check_bundle(bundle).wrong
    assert line == "three - one, average, λ 0, difference: the bundle claims 0.75, and what it carries gives 0.25"


def test_files_that_are_gone_or_strange_are_named(bundle):
    (bundle / "declared.json").unlink()
    (bundle / "more.txt").write_text("")
    wrong = check_bundle(bundle).wrong
    assert "declared.json: is in the manifest, and not there" in wrong
    assert "more.txt: is there, and not in the manifest" in wrong


def test_what_is_no_bundle_is_said(whole, tmp_path):
    with pytest.raises(NotFoundError, match="no bundle is there"):
        check_bundle(tmp_path)
    (tmp_path / MANIFEST).write_text("[]")
    with pytest.raises(UserError, match="is no manifest of a bundle"):
        check_bundle(tmp_path)


def test_a_bundle_written_again_leaves_nothing_of_the_old_one(whole):
    before = {file: file.read_bytes() for file in (whole / "bundle").rglob("*") if file.is_file()}
    old = whole / "bundle" / "captions" / "old.json"
    old.write_text("{}")
    sign(whole / "bundle")
    publish(whole, "bundle")
    assert {file: file.read_bytes() for file in (whole / "bundle").rglob("*") if file.is_file()} == before


def test_pictures_are_not_there_and_that_is_said(bundle):
    run = RunDir(bundle / "captions")
    row = run.captions().to_pylist()[0]
    with pytest.raises(NotFoundError, match="came without its pictures"):
        RunPictures(run).image(row)
    samples = list(RunPictures(run).samples(row["shard"], 2, 5))
    assert [sample.index for sample in samples] == [2, 3, 4]
    assert samples[0].meta["scene"]


def test_references_of_another_source_are_refused(whole, tmp_path):
    other = shutil.copytree(whole, tmp_path / "other")
    alter(other / "recipe.yaml", "references: own", "references: elsewhere.jsonl")
    with pytest.raises(UserError, match=r"references that came with the pictures.*elsewhere\.jsonl"):
        publish(other, "bundle", tmp_path / "bundle")


def test_an_ablation_of_an_earlier_version_is_to_be_run_again_and_its_old_bundle_stays(whole, tmp_path, capsys):
    """It had no probe/used.jsonl: a bundle of it was written, and refused by its own check."""
    earlier = shutil.copytree(whole, tmp_path / "earlier")
    (earlier / "probe/used.jsonl").unlink()
    before = {file: file.read_bytes() for file in (earlier / "bundle").rglob("*") if file.is_file()}
    assert captioners(["report", str(earlier), "--to", "bundle"]) == 1
    said = capsys.readouterr().err
    assert f"{earlier}/probe/used.jsonl: is not there" in said
    assert f"run `captioners ablate {earlier}/recipe.yaml` again" in said
    assert {file: file.read_bytes() for file in (earlier / "bundle").rglob("*") if file.is_file()} == before
    found = json.loads((earlier / "ablation.json").read_text())
    (earlier / "ablation.json").write_text(json.dumps(found | {"arms": [one | {"probe": {}} for one in found["arms"]]}))
    publish(earlier, "bundle", tmp_path / "without students")


def test_the_command_says_how_it_went_by_its_code(bundle, capsys):
    assert captioners(["ablate", str(bundle), "--check"]) == 0
    assert "4 arms made again, all of their" in capsys.readouterr().out
    alter(bundle / "probe" / "used.jsonl", '"value": 0.375', '"value": 0.5')
    sign(bundle)
    assert captioners(["ablate", str(bundle), "--check"]) == 2
    said = capsys.readouterr().err
    assert "arm one, probe, 0, average, 0" in said
    assert "values or files differ" in said
    assert captioners(["ablate", str(bundle), "seed=1", "--check"]) == 1


def test_what_a_model_measured_is_taken_image_by_image_and_no_model_is_opened(tmp_path, monkeypatch):
    (tmp_path / "clip").mkdir()
    clip, _ = write_clip(tmp_path / "clip")
    out = tmp_path / "it"
    measure = {"clip": f"local-dir:{clip}", "references": "own", "all_metrics": True, "workers": 1}
    changes = {"arms": {"two": {"members": [{"captioner": "demo", "draws": 2}]}}, "probe": None, "declare": {}}
    source = {**RECIPE["source"], "count": 4}
    recipe = options_from(AblateRecipe, {**RECIPE, **changes, "source": source, "measure": measure, "output": str(out)})
    made = job.ablate(recipe).ablation
    assert made.arms[0].cells["CLIPScore"].value is not None
    publish(out, "bundle")
    shutil.rmtree(clip)

    def refused(_name):
        raise AssertionError("a model was opened")

    monkeypatch.setattr(judge, "open_scorer", refused)
    found = check_bundle(out / "bundle")
    assert found.wrong == []
    (table, *_) = sorted((out / "bundle").glob("captions/measures/clip/*/*.parquet"))
    rows = pq.read_table(table)
    place = rows.schema.get_field_index("clip_score")
    pq.write_table(rows.set_column(place, "clip_score", pa.array([0.5] * rows.num_rows)), table)
    sign(out / "bundle")
    assert any("CLIPScore, value: " in line for line in check_bundle(out / "bundle").wrong)
