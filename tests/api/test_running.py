"""Recipes run in Python as their commands do, and what they leave is found again."""

import json
import re
from pathlib import Path

import pytest

import captioners
from captioners.core.errors import NotFoundError, RecipeError, UserError
from captioners.data.tar import TarWriter
from tests.runs_fixture import draw_picture

TINY = {"captioner": "demo", "decoding": {"top_p": 0.9, "min_tokens": 1, "max_tokens": 4}, "draws": 2}
GENERATE = {
    "job": "generate",
    "source": {"kind": "webdataset", "inputs": ["set"]},
    "members": [{**TINY, "name": "one"}],
    "rules": {"refuse": []},
    "decode_workers": 0,
    "output": Path("captions"),
}
DRAWN = {"kind": "drawn", "split": "finetune", "voice": "short", "count": 60}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder in which everything was run once: its path, and the runs."""
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("set").mkdir()
        with TarWriter("set/00000.tar") as tar:
            for n in range(4):
                tar.add(f"{n}", {"jpg": b"no picture" if n == 2 else draw_picture(n), "txt": b"an alt text"})
        runs = {"generate": captioners.run(GENERATE, quarantine_ceiling=1.0)}
        runs["export"] = captioners.run({"job": "export", "run": "captions", "to": "webdataset"}, output="captioned")
        runs["reinforce"] = captioners.run(
            "reinforce/datacompdr_12m",
            source={"kind": "webdataset", "inputs": ["captioned"]},
            teachers=[{"name": "tiny", "pretrained": "random", "seed": 1}],
            n_aug=1,
            output="reinforced",
        )
        runs["finetune"] = captioners.run(
            "finetune/custom", source=DRAWN, init="demo", epochs=1, batch_size=20, output="mine",
            **{"evaluation.images": 4},
        )  # fmt: skip
    return folder, runs


@pytest.fixture
def runs(written, monkeypatch):
    monkeypatch.chdir(written[0])
    return written[1]


def test_generate_leaves_captions_whose_sums_hold(runs):
    run = runs["generate"]
    assert run.counts().to_pylist() == [
        {"member": "one", "read": 4, "captioned": 3, "filtered": 0, "quarantined": 1, "captions": 6}
    ]
    assert run.captions().num_rows == 6
    assert [lost["reason"] for lost in run.quarantine()] == ["not_an_image"]
    assert re.findall(r"<t[dh] [^>]*>(\w+)<", run._repr_html_())[-6:] == ["one", "4", "3", "0", "1", "6"]


def test_the_same_again_makes_nothing_anew_and_a_member_more_only_itself(runs):
    run = runs["generate"]
    before = run.captions().to_pylist()
    files = {path: path.stat().st_mtime_ns for path in Path("captions/layers").rglob("*.parquet")}
    captioners.run(GENERATE, quarantine_ceiling=1.0)
    more = captioners.run(
        {**GENERATE, "members": [*GENERATE["members"], {**TINY, "name": "two"}]}, quarantine_ceiling=1.0
    )
    assert [row for row in more.captions().to_pylist() if row["member"] == "one"] == before
    assert more.captions().num_rows == 12
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_export_and_reinforce_leave_shards(runs):
    assert {path.name for path in Path(runs["export"].directory).iterdir()} >= {"00000.tar", "manifest.json"}
    assert [path.name for path in Path(runs["reinforce"].directory, "shards").glob("*.tar")] == ["00000.tar"]
    for name in ("export", "reinforce"):
        with pytest.raises(UserError, match=f"a run of {name} has no captions; runs of caption and generate do"):
            runs[name].captions()


def test_finetune_leaves_a_captioner_a_verdict_and_its_record(runs):
    run = runs["finetune"]
    assert captioners.load(run.captioner, device="cpu").card["name"] == "mine"
    assert run.verdict.startswith("Did it get better?")
    assert run.result()["sentence"] == run.verdict
    assert run.losses()["step"].to_pylist()[-1] == 3
    assert run.looks()["step"].to_pylist()[0] == 0
    assert Path(run.report()).name == "training.html"
    assert Path(run.report("copy.html")).read_bytes() == Path("mine/training.html").read_bytes()
    assert run.verdict.replace("+", "") in run._repr_html_().replace("&gt;", ">").replace("&#39;", "'").replace("+", "")
    assert run.quarantine() == []


def test_a_finished_training_is_returned_and_another_recipe_refused(runs):
    same = dict(source=DRAWN, init="demo", epochs=1, batch_size=20, output="mine", **{"evaluation.images": 4})
    before = Path("mine/metrics.jsonl").stat().st_mtime_ns
    told = []
    assert captioners.run("finetune/custom", say=told.append, **same) == runs["finetune"]
    assert told == ["mine: this recipe's training is finished"]
    assert Path("mine/metrics.jsonl").stat().st_mtime_ns == before
    for change in ({"lr": 1e-4}, {"source": {**DRAWN, "count": 61}}):
        with pytest.raises(UserError, match="this run is finished, its captioner is mine/captioner"):
            captioners.run("finetune/custom", **{**same, **change})


def test_runs_are_opened_by_their_directory(runs):
    assert captioners.open_run("mine") == captioners.Run(Path("mine"), job="finetune")
    assert captioners.open_run(Path("captions")) == runs["generate"]
    assert captioners.open_run("reinforced").job == "reinforce"
    with pytest.raises(NotFoundError, match="no run is there"):
        captioners.open_run("nowhere")
    with pytest.raises(NotFoundError, match="holds no captioner, for a run of generate makes none"):
        _ = runs["generate"].captioner


def test_an_unfinished_training_says_so(run_dir):
    Path("half").mkdir()
    Path("half/recipe.yaml").write_text("job: finetune\n")
    run = captioners.open_run("half")
    assert (run.verdict, run.losses().num_rows) == ("", 0)
    with pytest.raises(NotFoundError, match="the training is not finished"):
        _ = run.captioner


def test_what_caption_wrote_is_opened_too(run_dir):
    photo = Path(captioners.__file__).parent / "samples" / "cat.jpg"
    run = captioners.run(
        "caption/photos",
        inputs=[photo],
        captioner="random-tiny",
        decoding={"top_k": 5, "min_tokens": 1, "max_tokens": 3},
    )
    assert captioners.open_run(run.directory).captions().equals(run.captions())
    assert run.job == "caption"
    assert "caption" in run._repr_html_()


def test_mistakes_are_told_all_at_once(run_dir):
    with pytest.raises(RecipeError) as told:
        captioners.run({"job": "generate", "sorce": {}, "members": []})
    assert "sorce: unknown key" in str(told.value)
    assert "members" in str(told.value)
    with pytest.raises(NotFoundError, match="Did you mean 'generate'"):
        captioners.run({"job": "generat"})
    with pytest.raises(RecipeError, match="batch_size"):
        captioners.run("finetune/custom", batch_size="many")
    assert not list(run_dir.iterdir())


def test_a_job_without_a_face_here_leads_to_its_command(run_dir, monkeypatch):
    from captioners.api import running

    monkeypatch.setattr(running, "_JOBS", {})
    Path("mine.yaml").write_text(json.dumps({**GENERATE, "output": "x"}))
    with pytest.raises(UserError, match="run it with 'captioners generate mine\\.yaml'"):
        captioners.run("mine.yaml")
