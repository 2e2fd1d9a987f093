"""A recipe learns 21 real photos by heart: each gives its own caption back, and untrained weights none."""

import json

import pytest

import captioners
from captioners.core.recipe import read_recipe
from captioners.jobs.train.job import train
from captioners.text.tokenizer import ClipTokenizer
from tests.data.real import PHOTOS, needs_photos

GRAPHS = PHOTOS.parent / "graphs_pixtral.jsonl"

pytestmark = [pytest.mark.slow, pytest.mark.real, needs_photos]


def _trained(folder, *changes):
    of_photos = [f"source.inputs=['{GRAPHS}']", f"source.images='{PHOTOS}'", f"output='{folder}'", "device=cpu"]
    return train(read_recipe("pretrain/memorise", [*of_photos, *changes]).options)


def _given_back(run):
    """Return of how many photos the captioner says what their graph does, token for token, and of how many it may."""
    truth = {}
    for line in GRAPHS.read_text(encoding="utf-8").splitlines():
        graph = json.loads(line)
        truth[graph["img_path"].rpartition("/")[2]] = graph["short_caption"]
    tokenizer = ClipTokenizer()
    captions = captioners.load(str(run.captioner), device="cpu").caption([PHOTOS / name for name in truth])
    same = [
        tokenizer.encode(one.text) == tokenizer.encode(text)
        for (one,), text in zip(captions, truth.values(), strict=True)
    ]
    return sum(same), len(same)


def test_21_photos_are_learnt_by_heart_and_given_back(run_dir):
    run = _trained(run_dir / "out")
    assert (run.images, run.captions, run.cut, run.skipped) == (21, 21, 0, [])
    assert run.last.step == run.steps
    assert run.last.caption < 0.5
    back, photos = _given_back(run)
    assert photos == 21
    assert back >= 19, f"only {back} of 21 captions came back"


def test_without_training_none_is_given_back(run_dir):
    run = _trained(run_dir / "out", "steps=1", "warmup=0", "lr=1e-12")
    assert run.last.caption > 10  # the logarithm of the vocabulary: 10.8
    assert _given_back(run) == (0, 21)
