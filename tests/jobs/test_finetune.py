"""The user story: a folder of pictures with captions, one command, one honest sentence at the end."""

import json
import shutil
from collections import Counter

import pytest

from captioners.core.errors import UserError
from captioners.data.drawn_source import DrawnOptions
from captioners.jobs.train.job import train
from captioners.jobs.train.quick import quick_recipe

FAST = [
    "batch_size=8",
    "lr=1e-3",
    "device=cpu",
    "log_every=2",
    "recommended_decoding={beam: {width: 1, min_tokens: 1}}",
]


def photos(folder, count, *, first=0):
    """Write drawn scenes as a user has photos: x.jpg and x.txt."""
    folder.mkdir(exist_ok=True)
    source = DrawnOptions(split="finetune", voice="short", count=first + count).open()
    for shard in source.shards():
        for sample in source.samples(shard, first):
            (folder / f"{sample.key}.jpg").write_bytes(sample.image)
            (folder / f"{sample.key}.txt").write_text(sample.captions[0])
    return folder


def _clip(folder):
    """A CLIP of random weights to score with, as a directory."""
    import open_clip
    import torch

    from tests.kinds.test_scorer import TINY_CLIP

    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        vision, text = (
            open_clip.CLIPVisionCfg(**TINY_CLIP["vision_cfg"]),
            open_clip.CLIPTextCfg(**TINY_CLIP["text_cfg"]),
        )
        model = open_clip.CLIP(TINY_CLIP["embed_dim"], vision, text)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY_CLIP, "preprocess_cfg": {}}))
    return folder


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    home = tmp_path_factory.mktemp("story")
    folder = photos(home / "my_photos", 40)
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "broken.txt").write_text("a broken one")
    shutil.copy(folder / "00000000.jpg", folder / "copy.jpg")
    (folder / "copy.txt").write_text("the same again")
    said = []
    (home / "ids.txt").write_text("7\n8\n")
    changes = [*FAST, "epochs=2", "evaluation.every=5", f"output={home / 'run'}"]
    changes += [f"scorer=local-dir:{_clip(home / 'clip')}", f"leaks={{val: {home}/ids.txt}}"]
    recipe, recognised = quick_recipe([str(folder), *changes], "demo")
    return train(recipe, say=said.append), "\n".join([recognised, *said]), recipe


def test_it_says_what_it_found_before_the_first_step(story):
    _, said, _ = story
    for part in (
        "as recipe finetune/custom, from captioner demo",
        "images      41 of 42 samples (41 jpg)",
        "duplicates  1 exact copies; 2 images in 1 groups of near-duplicates",
        "licence     unspecified",
        "leaks       val: 0 of its 2 images are in this set",
        "1 not_an_image",
        "split       33 train, 4 val, 4 test",
        "val after step 0: CIDEr-D",
        "memory      ", "disk        ", "time        about ",
    ):  # fmt: skip
        assert part in said
    assert said.index("val after step 0") < said.index("time        about")


def test_the_split_is_written_and_keeps_copies_together(story):
    run, _, _ = story
    rows = [json.loads(line) for line in (run.directory / "split.jsonl").read_text().splitlines()]
    assert Counter(row["part"] for row in rows) == {"train": 33, "val": 4, "test": 4}
    twins = {row["part"] for row in rows if row["key"] in ("copy", "00000000")}
    assert len(twins) == 1
    assert run.images == 33


def test_evaluations_and_the_page_tell_the_same(story):
    run, said, _ = story
    looks = [json.loads(line) for line in (run.directory / "evaluations.jsonl").read_text().splitlines()]
    assert [look["step"] for look in looks] == [0, 5, 9]
    assert looks[-1]["loss"] < looks[0]["loss"]
    assert all(len(look["captions"]) == 4 for look in looks)
    best = max(looks[1:], key=lambda look: look["cider_d"])
    assert f"the result is the checkpoint of step {best['step']}, the best on val" in said
    page = (run.directory / "training.html").read_text()
    assert "It ended after 9 of 9 steps" in page
    assert 'http-equiv="refresh"' not in page
    assert f"{best['cider_d']:.3f}" in page


def test_the_answer_is_one_sentence_on_test_images_and_stands_on_the_card(story):
    run, said, _ = story
    result = json.loads((run.directory / "result.json").read_text())
    (sentence,) = [line for line in said.splitlines() if line.startswith("Did it get better?")]
    assert "on 4 test images (same references and decoding)" in sentence
    assert result["sentence"] == sentence
    assert result["scorer_note"] in said
    assert result["scorer_note"].startswith("CLIPScore and self-retrieval by local-dir:")
    card = json.loads((run.captioner / "captioner.json").read_text())
    assert card["comparison"]["sentence"] == sentence
    assert len(card["sample_captions"]) == 4
    assert card["init"]["name"] == "demo"


def test_the_run_holds_the_whole_recipe(story):
    run, _, recipe = story
    from captioners.core.recipe import read_recipe

    assert read_recipe(run.directory / "recipe.yaml").options == recipe
    assert (recipe.tune, recipe.split.val, recipe.evaluation.patience) == ("text", 0.05, 3)
    assert recipe.objective.contrastive_weight == 0


def test_the_tower_stays_as_it_was(story):
    from captioners.kinds import catalogue, loading

    run, _, _ = story
    towers = [
        loading.load(catalogue.find(name)).coca.model.visual.state_dict() for name in ("demo", str(run.captioner))
    ]
    assert all(bool((towers[0][name] == towers[1][name]).all()) for name in towers[0])


def test_a_run_that_takes_too_long_stops_before_its_first_step(tmp_path):
    folder = photos(tmp_path / "p", 24)
    given = [str(folder), *FAST, "epochs=1", "max_hours=1e-6", "evaluation.images=2", f"output={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=r"would take about .* \(3 steps of .* more than max_hours 1e-06: raise it"):
        train(quick_recipe(given, "demo")[0])
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_set_that_cannot_be_trained_on_is_one_line(tmp_path):
    folder = photos(tmp_path / "p", 4)
    for file in folder.glob("*.txt"):
        file.write_text("a photo")
    with pytest.raises(UserError, match="all 4 captions are 'a photo': there is nothing to learn"):
        train(quick_recipe([str(folder), *FAST, f"output={tmp_path / 'run'}"], "demo")[0])


def test_a_tiny_set_is_trained_on_whole(tmp_path):
    folder = photos(tmp_path / "p", 6)
    said = []
    run = train(
        quick_recipe([str(folder), *FAST, "epochs=2", f"output={tmp_path / 'run'}"], "demo")[0], say=said.append
    )
    assert run.images == 6
    assert "fewer than 20 are too few to hold some out" in "\n".join(said)
    assert not (run.directory / "result.json").exists()
    assert (run.directory / "training.html").is_file()
