"""captioners/jobs/measure: scores of single captions against plain cosines and pandas; what stays, what is refused."""

import json
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from captioners.cli.main import run as command
from captioners.core.errors import InterruptedRunError, NotFoundError, RecipeError, UserError
from captioners.core.layers import read_layers
from captioners.core.scores import ScoreLayer
from captioners.jobs.measure.job import measure_captions
from captioners.kinds.scorer import open_scorer
from captioners.metrics.caption_score import caption_scores
from captioners.metrics.tokens import words
from tests.kinds.test_scorer import write_clip
from tests.runs_fixture import make_run

KEY = ["shard", "key", "index", "draw"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder, model = write_clip(tmp_path_factory.mktemp("clip"))
    return f"local-dir:{folder}", model.eval()


@pytest.fixture
def run(tmp_path):
    return with_tower(make_run(tmp_path, drawn=13), "0" * 64)


def with_tower(run, digest):
    """Let the layers say whose image tower made them, as `generate` does."""
    for path in Path(run.url).glob("layers/*/layer.json"):
        about = json.loads(path.read_text())
        about["facts"]["tower"] = digest
        path.write_text(json.dumps(about))
    return run


def scores(run, name):
    """member -> its scores, read by pandas from the files as they lie there."""
    found = {}
    for layer in read_layers(run.place):
        files = sorted(Path(run.url, "scores", layer.name, name).glob("*.parquet"))
        found[layer.name] = pd.concat([pd.read_parquet(path) for path in files], ignore_index=True)
    return found


def joined(run, name):
    """Every row of the run with its score, joined by pandas."""
    rows = run.captions().to_pandas()
    told = pd.concat([table.assign(member=member) for member, table in scores(run, name).items()])
    both = rows.merge(told, on=[*KEY, "member"], how="outer", validate="one_to_one", indicator=True)
    assert set(both["_merge"]) == {"both"}
    return both


def times(run, name):
    return {path: path.stat().st_mtime_ns for path in Path(run.url, "scores").rglob(f"{name}/*.parquet")}


@pytest.mark.parametrize(
    ("score", "prefix", "factor"), [("clipscore", "A photo depicts ", 2.5), ("clip_cosine", "", 1)]
)
def test_a_score_is_the_cosine_that_open_clip_gives(run, clip, score, prefix, factor):
    import open_clip

    scorer, model = clip
    with torch.random.fork_rng():
        _, _, preprocess = open_clip.create_model_and_transforms(scorer)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    measured = measure_captions(run.url, score, [f"scorer={scorer}"])
    both = joined(run, score)
    assert (measured.captions, measured.undefined) == (len(both), 0)
    pictures = Path(run.url).parent.parent / "pictures"
    opened = [preprocess(Image.open(pictures / f"{key}.jpg").convert("RGB")) for key in both["key"]]
    with torch.inference_mode():
        images = model.encode_image(torch.stack(opened)).double()
        texts = model.encode_text(tokenizer([prefix + text for text in both["text"]])).double()
        cosines = torch.nn.functional.cosine_similarity(images, texts)
    expected = factor * cosines.clamp(min=0) if score == "clipscore" else cosines
    assert both["value"].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert both["value"].nunique() > 2
    assert measured.mean == pytest.approx(both["value"].mean())


def test_scores_without_a_model(run):
    measure_captions(run.url, "words")
    both = joined(run, "words")
    assert both["value"].tolist() == [len(words(text)) for text in both["text"]]
    measured = measure_captions(run.url, "logprob_per_token")
    both = joined(run, "logprob_per_token")
    expected = both["logprob"] / (both["num_tokens"] + (both["finish"] == "eos"))
    pd.testing.assert_series_equal(both["value"], expected, check_names=False)
    assert measured.undefined == expected.isna().sum()


def test_what_is_scored_stays_and_the_rest_is_done(run):
    measure_captions(run.url, "words")
    before, about = times(run, "words"), joined(run, "words")
    lost = sorted(before)[1]
    lost.unlink()
    again = measure_captions(run.url, "words")
    assert (again.units, again.before) == (3, 2)
    assert again.captions == len(pd.read_parquet(lost))
    after = times(run, "words")
    assert {path for path in before if after[path] != before[path]} == {lost}
    pd.testing.assert_frame_equal(joined(run, "words"), about)
    assert measure_captions(run.url, "words").captions == 0


def test_stopped_it_goes_on(run, monkeypatch):
    write, written = ScoreLayer.write, []

    def stopping(self, *arguments):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(arguments)
        write(self, *arguments)

    monkeypatch.setattr(ScoreLayer, "write", stopping)
    with pytest.raises(InterruptedRunError, match="what is scored stays"):
        measure_captions(run.url, "words")
    assert len(times(run, "words")) == 3
    out = str(Path(run.url).parent / "out")
    monkeypatch.undo()
    assert command(["export", run.url, "scores=[words]", "--to", "parquet", "--out", out]) == 1
    assert measure_captions(run.url, "words").before == 1
    assert command(["export", run.url, "scores=[words]", "--to", "parquet", "--out", out]) == 0
    found = pd.read_parquet(f"{out}/captions-00000.parquet")
    assert found["words"].tolist() == [len(words(text)) for text in found["text"]]


def test_an_unfinished_score_names_the_command(run, capsys):
    measure_captions(run.url, "words")
    sorted(times(run, "words"))[0].unlink()
    assert command(["export", run.url, "select.where=words > 3", "--to", "jsonl", "--out", "out"]) == 1
    said = capsys.readouterr().err
    assert f"lacks 1 of 3 units; run: captioners measure {run.url} --per-caption words" in said


def test_the_best_by_a_score_are_exported(run, tmp_path):
    measure_captions(run.url, "words")
    out = str(tmp_path / "out")
    select = ["select.n=1", "select.by=score", "select.score=words", "select.where=words < 12 and not truncated"]
    assert command(["export", run.url, *select, "--to", "parquet", "--out", out]) == 0
    found = pd.read_parquet(f"{out}/captions-00000.parquet")
    rows = joined(run, "words")
    good = rows[rows["keep"] & (rows["value"] < 12) & ~rows["flags"].map(lambda flags: "truncated" in flags)]
    best = good.groupby(["shard", "index"])["value"].max()
    assert found.set_index(["shard", "index"])["words"].to_dict() == best.to_dict()
    about = json.loads(Path(out, "manifest.json").read_text())["scores"]["words"]
    assert about == {"metric": "words", "version": 1, "scorer": "", "digest": ""}


def test_a_judge_of_its_own_cause_is_refused(run, clip):
    scorer, _ = clip
    own = open_scorer(scorer)
    measure_captions(run.url, "clipscore", [f"scorer={scorer}"])
    with_tower(run, own.tower_digest)
    with pytest.raises(UserError, match="has the image tower of brief, which it is to judge"):
        measure_captions(run.url, "clipscore", [f"scorer={scorer}", "name=again"])
    assert not Path(run.url, "scores/brief/again").exists()


def test_a_run_that_does_not_say_its_tower_is_asked_of_its_captioner(tmp_path, clip):
    """Runs of older versions: the captioner that wrote them says it, if it is still the same one."""
    from captioners.jobs.measure.clipscore_score import tower_of
    from captioners.kinds.coca import CocaCaptioner

    run = make_run(tmp_path, drawn=1)
    with pytest.raises(UserError, match="does not say whose image tower it has, and its captioner"):
        measure_captions(run.url, "clipscore", [f"scorer={clip[0]}"])
    info = CocaCaptioner("demo").info
    path = Path(run.url, "layers/broad/layer.json")
    about = json.loads(path.read_text())
    about["facts"]["captioner"], about["meaning"]["weights"] = "demo", info.weights_digest
    path.write_text(json.dumps(about))
    layer = next(layer for layer in read_layers(run.place) if layer.name == "broad")
    assert tower_of(layer, open_scorer(clip[0])) == info.tower_digest
    assert tower_of(layer, open_scorer("demo")) == info.tower_digest


def test_two_scorers_are_not_mixed_under_one_name(run, clip, tmp_path):
    measure_captions(run.url, "clipscore", [f"scorer={clip[0]}"])
    before = times(run, "clipscore")
    (tmp_path / "other").mkdir()
    other, _ = write_clip(tmp_path / "other", seed=2)
    with pytest.raises(
        UserError, match=r"was made otherwise \(scorer_digest .*give this one a name of its own \(name="
    ):
        measure_captions(run.url, "clipscore", [f"scorer=local-dir:{other}"])
    with pytest.raises(UserError, match=r"was made otherwise \(metric clipscore\)"):
        measure_captions(run.url, "clip_cosine", [f"scorer={clip[0]}", "name=clipscore"])
    measure_captions(run.url, "clipscore", [f"scorer=local-dir:{other}", "name=clipscore_b"])
    assert times(run, "clipscore") == before
    assert not joined(run, "clipscore")["value"].equals(joined(run, "clipscore_b")["value"])


def test_captions_without_their_picture_have_no_score(run, clip):
    pictures = Path(run.url).parent.parent / "pictures"
    (pictures / "drawn/0003.jpg").write_bytes(b"another")
    measured = measure_captions(run.url, "clipscore", [f"scorer={clip[0]}"])
    both = joined(run, "clipscore")
    assert both[both["value"].isna()]["key"].unique().tolist() == ["drawn/0003"]
    assert measured.undefined == both["value"].isna().sum() == 4


def test_scores_of_captions_that_are_gone_are_never_joined(run, tmp_path, capsys):
    measure_captions(run.url, "words")
    name = "ledger/broad/photos.00000.json"
    entry = json.loads(run.place.read(name))
    entry["digest"] = sha256(b"others").hexdigest()
    run.place.write(name, json.dumps(entry).encode())
    assert command(["export", run.url, "scores=[words]", "--to", "jsonl", "--out", str(tmp_path / "out")]) == 1
    assert "these were captions that are not there any more; run: captioners measure" in capsys.readouterr().err
    assert measure_captions(run.url, "words").captions == 12


def test_mistakes(run):
    with pytest.raises(NotFoundError, match=r"no score is named 'clipscor'. Did you mean 'clipscore'"):
        measure_captions(run.url, "clipscor")
    with pytest.raises(RecipeError, match=r"--per-caption words, command line: scorer: unknown key"):
        measure_captions(run.url, "words", ["scorer=x"])
    with pytest.raises(UserError, match="name=draw: a column or flag is called so"):
        measure_captions(run.url, "words", ["name=draw"])
    with pytest.raises(RecipeError, match="name"):
        measure_captions(run.url, "words", ["name=a-b"])
    assert {"clipscore", "clip_cosine", "words", "logprob_per_token"} <= set(caption_scores.names())


def test_scores_are_listed_with_their_options():
    from captioners.jobs.listing import details, listing

    assert [name for name, _ in listing("scores").rows] == caption_scores.names()
    told = details("scores", "clipscore")
    assert "score, 0 to 2.5; higher is better" in told
    assert "scorer  (text, default ViT-B-32/openai)" in told


def test_the_command(run, capsys):
    assert command(["measure", run.url, "--per-caption", "words"]) == 0
    said = capsys.readouterr().out
    assert "words: 76 captions scored, mean " in said
    assert f"{run.url}/scores/broad/words" in said
    assert command(["measure", run.url, "--per-caption", "word"]) == 1
    assert "Known: clip_cosine, clipscore" in capsys.readouterr().err
