"""From a recipe to a captioner that plain open_clip opens; stopped, changed, finished and broken on the way."""

import fcntl
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from captioners.core.errors import InterruptedRunError, NotFoundError, RecipeError, UserError
from captioners.core.recipe import read_recipe
from captioners.data.drawn_source import DrawnOptions
from captioners.decoding.values import parse_decoding
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.recipes.pretrain import PretrainRecipe
from captioners.jobs.train.job import train
from captioners.kinds import catalogue, loading
from captioners.models.weights import read_weights, weights_digest
from captioners.text.pieces import train_sentencepiece
from captioners.training.optimizer import learning_rate
from tests.models.tiny import tiny_config

SOURCE = {"kind": "drawn", "split": "pretrain", "count": 12, "captions": 2}
PRETRAIN = {
    "model": tiny_config(context=24),
    "tokenizer": {"sentencepiece": {"vocab_size": 320}},
    "source": {**SOURCE, "count": 60},
    "steps": 6,
    "batch_size": 4,
    "seed": 3,
    "device": "cpu",
    "checkpoint_every": 2,
    "data_licence": "CC0-1.0",
}


def _pretrain(output, **changes):
    return PretrainRecipe.model_validate({**PRETRAIN, "output": str(output), **changes})


def _finetune(output, init, **changes):
    given = {"init": str(init), "source": {**SOURCE, "split": "finetune", "voice": "short"}, "steps": 4}
    return FinetuneRecipe.model_validate(
        {**given, "batch_size": 4, "lr": 1e-3, "device": "cpu", "output": str(output), **changes}
    )


def _card(run):
    return json.loads((run.captioner / "captioner.json").read_text())


def _stop_after(steps):
    """A `show` that asks for a stop, as Ctrl-C does, when so many steps are done."""

    def show(progress):
        if progress.record.step == steps:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)

    return show


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    torch.set_num_threads(2)  # as each test has: sums are split by threads
    return train(_pretrain(tmp_path_factory.mktemp("pretrain") / "small"))


def test_pretraining_writes_a_captioner_with_its_card(pretrained):
    assert (pretrained.images, pretrained.captions, pretrained.skipped) == (60, 120, [])
    assert (pretrained.resumed_from, pretrained.last.step) == (0, 6)
    card = _card(pretrained)
    assert card["name"] == "small"
    assert card["licences"] == {"weights": "unspecified", "training data": "CC0-1.0"}
    assert card["tokenizer"] == "sentencepiece"
    assert card["recipe"]["objective"]["caption_weight"] == 2.0
    assert card["recipe"]["objective"]["contrastive_weight"] == 1.0
    assert card["data"]["images"] == 60
    parse_decoding(card["recommended_decoding"])
    said = (pretrained.directory / "recipe.yaml").read_text()
    assert read_recipe(pretrained.directory / "recipe.yaml").options == _pretrain(pretrained.directory)
    assert "batch_size: 4" in said


def test_plain_open_clip_opens_it_to_the_same_answers(pretrained):
    import open_clip

    with torch.random.fork_rng(devices=[]):  # open_clip draws weights before it reads them
        theirs, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{pretrained.captioner}")
    ids = open_clip.get_tokenizer(f"local-dir:{pretrained.captioner}")(["a red circle", "two squares"])
    loaded = loading.load(catalogue.find(str(pretrained.captioner)))
    assert torch.equal(ids, loaded.tokenizer.batch(["a red circle", "two squares"], 24))
    pictures = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(theirs.eval()(pictures, ids)["logits"], loaded.coca.model(pictures, ids)["logits"])
    assert preprocess.transforms[0].size == 32


def test_a_runs_directory_means_its_captioner(pretrained):
    known = catalogue.find(str(pretrained.directory))
    assert (known.name, Path(known.origin.where)) == ("small", pretrained.captioner)
    assert catalogue.find(str(pretrained.captioner)).name == "small"


def test_pretraining_depends_on_the_recipe_alone(pretrained, tmp_path):
    again = train(_pretrain(tmp_path / "again"))
    other = train(_pretrain(tmp_path / "other", seed=4))
    digests = [_card(run)["weights_digest"] for run in (pretrained, again, other)]
    assert digests[0] == digests[1] != digests[2]


def test_training_may_end_before_its_schedule(tmp_path):
    """The learning rate falls as if to the end of the schedule, where the whole run's would be at that step."""
    records = []
    run = train(_pretrain(tmp_path / "early", stop_at=3, steps=6, warmup=0, log_every=1), records.append)
    assert (run.steps, run.last.step) == (3, 3)
    whole = [learning_rate(step, peak=1e-3, warmup=0, total=6) for step in range(6)]
    assert [shown.record.lr for shown in records] == whole[:3]
    assert records[-1].record.lr > 0.7e-3  # a schedule of three steps would be at a quarter of the peak here


def test_a_stopped_run_goes_on_to_the_same_captioner(pretrained, tmp_path):
    recipe = _pretrain(tmp_path / "stopped", log_every=1)
    with pytest.raises(InterruptedRunError, match="stopped after step 3 of 6"):
        train(recipe, _stop_after(3))
    assert not (tmp_path / "stopped" / "captioner").exists()
    assert (tmp_path / "stopped" / "tokenizer" / "sentencepiece.model").is_file()
    told = []
    run = train(recipe, say=told.append)
    assert run.resumed_from == 3
    assert "going on after step 3" in told[-1]
    assert _card(run)["weights_digest"] == _card(pretrained)["weights_digest"]


def test_a_stopped_run_goes_on_under_no_other_recipe(tmp_path, pretrained):
    recipe = _pretrain(tmp_path / "stopped", log_every=1)
    with pytest.raises(InterruptedRunError):
        train(recipe, _stop_after(3))
    with pytest.raises(UserError, match=r"was begun with lr 0\.001, and is to go on with 0\.01; name another output"):
        train(_pretrain(tmp_path / "stopped", lr=0.01))
    with pytest.raises(UserError, match="was begun with data"):
        train(_pretrain(tmp_path / "stopped", source={**PRETRAIN["source"], "count": 59}))
    # What changes no step may change.
    run = train(_pretrain(tmp_path / "stopped", checkpoint_every=100, log_every=3, save_dtype="fp16", name="other"))
    assert run.resumed_from == 3
    assert _card(run)["name"] == "other"


def test_a_finished_run_is_refused(pretrained):
    with pytest.raises(UserError, match=r"this run is finished, its captioner is .*captioner; name another output"):
        train(_pretrain(pretrained.directory))


def test_someone_elses_folder_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(UserError, match="not empty and holds no run of pretrain"):
        train(_pretrain(tmp_path / "photos"))
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        train(_pretrain(tmp_path / "photos" / "cat.jpg"))


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("job: pretrain\n")
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is training here"):
            train(_pretrain(folder))


def test_finetuning_starts_from_a_captioner_and_carries_its_card_on(pretrained, tmp_path):
    run = train(_finetune(tmp_path / "voice", pretrained.directory, data_licence="CC BY 4.0"))
    card = _card(run)
    assert card["licences"] == {
        "weights": "unspecified", "training data": "CC0-1.0", "fine-tuning data": "CC BY 4.0",
    }  # fmt: skip
    assert card["init"] == {"name": "small", "digest": _card(pretrained)["weights_digest"]}
    assert card["weights_digest"] != card["init"]["digest"]
    assert card["tokenizer_digest"] == _card(pretrained)["tokenizer_digest"]
    twice = train(_finetune(tmp_path / "again", run.directory, data_licence="other", name="third"))
    assert _card(twice)["licences"]["fine-tuning data of third"] == "other"
    assert _card(twice)["licences"]["fine-tuning data"] == "CC BY 4.0"


def test_finetuning_changes_nothing_of_its_init(pretrained, tmp_path):
    before = (pretrained.captioner / "open_clip_model.safetensors").read_bytes()
    run = train(_finetune(tmp_path / "voice", pretrained.directory, tune="text", objective={"contrastive_weight": 0.0}))
    assert (pretrained.captioner / "open_clip_model.safetensors").read_bytes() == before
    old, new = (read_weights(r.captioner / "open_clip_model.safetensors") for r in (pretrained, run))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert not any(name.startswith("visual.") for name in changed)


def test_a_longer_context_is_trained_and_written(pretrained, tmp_path):
    run = train(_finetune(tmp_path / "long", pretrained.directory, context_length=30))
    assert _card(run)["context_length"] == 30
    assert loading.load(catalogue.find(str(run.captioner))).coca.context_length == 30


def test_weights_of_half_size_load_as_the_captioner_their_card_says(pretrained, tmp_path):
    run = train(_finetune(tmp_path / "half", pretrained.directory, save_dtype="fp16"))
    whole = train(_finetune(tmp_path / "whole", pretrained.directory))
    file = "open_clip_model.safetensors"
    assert (run.captioner / file).stat().st_size < 0.55 * (whole.captioner / file).stat().st_size
    state = loading.load(catalogue.find(str(run.captioner))).coca.model.state_dict()
    assert all(tensor.dtype is torch.float32 for tensor in state.values())
    assert weights_digest(state) == _card(run)["weights_digest"] != _card(whole)["weights_digest"]
    exact = loading.load(catalogue.find(str(whole.captioner))).coca.model.state_dict()
    assert all(torch.equal(state[name], tensor.half().float()) for name, tensor in exact.items())


def test_the_cards_decoding_is_the_recipes_or_that_of_init(pretrained, tmp_path):
    one = train(_finetune(tmp_path / "one", pretrained.directory, recommended_decoding={"top_p": 0.7}))
    two = train(_finetune(tmp_path / "two", one.directory))
    assert parse_decoding(_card(two)["recommended_decoding"]).top_p == 0.7


def test_bad_samples_are_told_and_written_down(pretrained, tmp_path):
    lines = [
        {"image": "a.jpg", "text": "a cat"},
        {"image": "gone.jpg", "text": "a dog"},
        {"image": "b.jpg", "text": ""},
    ]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sample = Path(catalogue.__file__).parents[1] / "samples" / "cat.jpg"
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(sample.read_bytes())
    source = {"kind": "jsonl", "inputs": [str(tmp_path / "set.jsonl")], "caption_column": "text"}
    with pytest.raises(UserError, match=r"2 of 3 samples cannot be used \(66.7%.*raise skipped_ceiling"):
        train(_finetune(tmp_path / "out", pretrained.directory, source=source))
    told = []
    recipe = _finetune(tmp_path / "out", pretrained.directory, source=source, skipped_ceiling=1.0)
    run = train(recipe, say=told.append)
    assert run.images == 1
    assert "2 of 3 samples were skipped" in "".join(told)
    records = [json.loads(line) for line in (run.directory / "skipped.jsonl").read_text().splitlines()]
    assert records == run.skipped
    assert {record["reason"] for record in records} == {"missing", "no_caption"}


def test_mistakes_are_told_before_anything_is_written(tmp_path, monkeypatch):
    with pytest.raises(NotFoundError, match=r"no captioner is named 'coca-l14-cocco'.*Did you mean 'coca-l14-coco'"):
        train(_finetune(tmp_path / "out", "coca-l14-cocco"))
    known = catalogue.find("random-tiny")
    monkeypatch.setattr("captioners.jobs.train.start.find", lambda _: replace(known, noncommercial=True))
    with pytest.raises(UserError, match=r"non-commercial licence .*allow_noncommercial=true"):
        train(_finetune(tmp_path / "out", "random-tiny"))
    assert not (tmp_path / "out").exists()
    train(_finetune(tmp_path / "out", "random-tiny", allow_noncommercial=True, steps=1, warmup=0))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "coca_ViT-L-15"}, "no CoCa architecture is named 'coca_ViT-L-15'.*Did you mean 'coca_ViT-L-14'"),
        ({"model": {"embed_dim": 4}}, "no CoCa configuration; it needs vision_cfg, text_cfg and multimodal_cfg"),
        ({"tokenizer": {"sentencepiece": {"vocab_size": 90_000}}}, "cannot make 90,000 ids"),
        ({"memory_gb": 1e-6}, "raise memory_gb"),
    ],
)
def test_what_cannot_be_pretrained_is_said(changes, says, tmp_path):
    with pytest.raises(UserError, match=says):
        train(_pretrain(tmp_path / "out", **changes))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("warmup: 9", "9 steps of warm-up are more than the 4 steps"),
        ("stop_at: 5", "5 is beyond the 4 steps of the schedule"),
        ("batch_size: 1", "a contrastive loss compares the images of a batch"),
        ("lr: fast", "must be a number"),
        ("objective: {contrastive: 0}", "unknown key"),
        ("source: {kind: drawn, voices: short}", "unknown key. Did you mean 'voice'"),
        ("source: {kind: parquet}", "'parquet' is none of"),
        ("trackers: [mlflow]", "must be"),
        ("tune: image", "must be 'all' or 'text'"),
    ],
)
def test_recipes_are_strict(line, says, tmp_path):
    values = {"init": "random-tiny", "source": "{kind: drawn}", "steps": 4, "batch_size": 4}
    key, _, value = line.partition(": ")
    values[key] = value
    file = tmp_path / "r.yaml"
    file.write_text("job: finetune\n" + "".join(f"{key}: {value}\n" for key, value in values.items()))
    with pytest.raises(RecipeError, match=says):
        read_recipe(file)


def test_check_says_what_is_wrong_with_init():
    from captioners.jobs.check.job import cross_problems

    def problems(init, **changes):
        return cross_problems(_finetune("out", init, **changes))

    assert problems("random-tiny") == []
    assert "Did you mean 'random-tiny'" in problems("random-tinny")[0]
    assert "may not be used commercially" in problems("apple-coca-context77")[0]
    assert problems("apple-coca-context77", allow_noncommercial=True) == []
    assert problems("coca_ViT-L-14@gone.pt") == ["init: gone.pt does not exist"]


def test_overrides_reach_the_source_and_the_objective(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_text("job: finetune\ninit: random-tiny\nsource: {kind: drawn}\nsteps: 4\nbatch_size: 4\n")
    recipe = read_recipe(file, ["source.voice=short", "objective.contrastive_weight=0.0", "context_length=77"]).options
    assert (recipe.source.voice, recipe.objective.contrastive_weight, recipe.context_length) == ("short", 0.0, 76)


def test_what_a_recipe_says_of_pixels_licence_and_knowledge_is_in_the_captioner_and_its_heirs(tmp_path):
    statistics = {"mean": [0.85, 0.8, 0.75], "std": [0.2, 0.25, 0.3]}
    tokenizer = {"sentencepiece": {"vocab_size": 320, "captions": 100}}
    own = {"weights_licence": "CC0-1.0", "knows_only": "small things", "tokenizer": tokenizer, "steps": 2}
    run = train(_pretrain(tmp_path / "small", normalisation=statistics, **own))
    written = json.loads((run.captioner / "open_clip_config.json").read_text())["preprocess_cfg"]
    assert {name: written[name] for name in statistics} == statistics
    assert written["resize_mode"] == "shortest"
    heir = train(_finetune(tmp_path / "heir", run.directory, steps=2))
    inherited = json.loads((heir.captioner / "open_clip_config.json").read_text())["preprocess_cfg"]
    assert inherited == written
    for card in (_card(run), _card(heir)):
        assert card["licences"]["weights"] == "CC0-1.0"
        assert card["knows_only"] == "small things"
    assert loading.load(catalogue.find(str(heir.captioner))).knows_only == "small things"


def test_a_tokenizer_may_be_trained_on_the_first_captions_alone(tmp_path, monkeypatch):
    seen = []

    def counted(texts, vocab_size, path):
        seen.extend(texts)
        return train_sentencepiece(seen, vocab_size, path)

    monkeypatch.setattr("captioners.jobs.train.start.train_sentencepiece", counted)
    tokenizer = {"sentencepiece": {"vocab_size": 320, "captions": 100}}
    train(_pretrain(tmp_path / "small", tokenizer=tokenizer, steps=1))
    assert len(seen) == 100  # of 120


def test_what_is_refused_leaves_the_run_s_recipe_as_it_was(tmp_path):
    """A changed lr was refused after it had been written, so recipe.yaml said what the run did not do."""
    with pytest.raises(InterruptedRunError):
        train(_pretrain(tmp_path / "run", log_every=1), _stop_after(2))
    before = (tmp_path / "run/recipe.yaml").read_text()
    with pytest.raises(UserError, match="was begun with lr"):
        train(_pretrain(tmp_path / "run", lr=3e-4))
    assert (tmp_path / "run/recipe.yaml").read_text() == before
    train(_pretrain(tmp_path / "run", log_every=2))  # what changes no step is taken, and written
    assert "log_every: 2" in (tmp_path / "run/recipe.yaml").read_text()


def test_another_job_s_run_is_no_output_and_a_lone_lock_is(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text("job: generate\n")
    with pytest.raises(UserError, match="holds no run of pretrain"):
        train(_pretrain(tmp_path / "run"))
    assert (tmp_path / "run/recipe.yaml").read_text() == "job: generate\n"
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/.lock").touch()  # what a process leaves that was killed before it wrote its recipe
    assert train(_pretrain(tmp_path / "begun", steps=1, warmup=0)).captioner.is_dir()


def test_a_pretraining_too_stops_when_much_of_its_set_cannot_be_used(tmp_path):
    """Its ceiling was never looked at: with 6 of 10 pictures broken it trained anyway."""
    photos = tmp_path / "photos"
    photos.mkdir()
    source = DrawnOptions(split="pretrain", count=8, captions=1).open()
    for number, sample in enumerate(source.samples(source.shards()[0])):
        (photos / f"{number}.jpg").write_bytes(sample.image if number < 5 else b"no picture")
        (photos / f"{number}.txt").write_text(sample.captions[0] or "a shape")
    folder = {"kind": "folder", "inputs": [str(photos)]}
    with pytest.raises(UserError, match=r"3 of 8 samples .* 3 not_an_image.* 5% of skipped_ceiling"):
        train(_pretrain(tmp_path / "run", source=folder, tokenizer="clip"))
    run = train(_pretrain(tmp_path / "run", source=folder, tokenizer="clip", skipped_ceiling=0.5, steps=1, warmup=0))
    assert run.images == 5


def test_weights_for_research_alone_stay_so_in_what_is_made_of_them(tmp_path, pretrained):
    """Data that anyone may use made a captioner of them that said "yes", and its directory was not gated."""
    research = tmp_path / "research"
    shutil.copytree(pretrained.captioner, research)
    card = json.loads((research / "captioner.json").read_text())
    (research / "captioner.json").write_text(json.dumps({**card, "commercial_use": "no"}))
    with pytest.raises(UserError, match="allow_noncommercial"):
        train(_finetune(tmp_path / "run", research))
    run = train(_finetune(tmp_path / "run", research, allow_noncommercial=True, steps=1, warmup=0))
    assert _card(run)["commercial_use"] == "no"
    with pytest.raises(UserError, match="allow_noncommercial"):
        train(_finetune(tmp_path / "again", run.captioner))
    assert _card(pretrained)["commercial_use"] != "no"
