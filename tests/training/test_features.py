"""Cached features are the frozen tower: the same loss and gradients, computed once, and not taken for other data's."""

import json
import shutil

import pytest
import torch

from captioners.core.errors import UserError
from captioners.models import coca
from captioners.training.devices import accelerator_for
from captioners.training.features import Shapes, cached_features
from captioners.training.ranks import Ranks
from tests.models.tiny import tiny_config
from tests.training.batches import IMAGES, OWNERS, batch_of, gradients, seen
from tests.training.runs import normalised

BATCH = batch_of(OWNERS["some"])


def _features(folder, *, model, images=seen, facts=None, contrastive=True, asked=None, precision="fp32", say=print):
    def pixels_of(start, end):
        if asked is not None:
            asked.append((start, end))
        return BATCH.pixels[start:end]

    with accelerator_for("cpu", precision) as accelerator:
        return cached_features(
            model, images, pixels_of, IMAGES, folder / "features",
            ranks=Ranks(accelerator), facts=facts or {"data": "a"}, contrastive=contrastive, say=say,
        )  # fmt: skip


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_they_give_the_frozen_towers_loss_and_gradients(weight, tmp_path):
    model = coca.build(tiny_config(), 1).double()
    wanted = gradients(BATCH, weight=weight, tune="text", model=model, micro_batch=4)
    model.zero_grad()
    features = _features(tmp_path, model=model, contrastive=weight > 0)
    found = gradients(BATCH, weight=weight, tune="text", model=model, micro_batch=4, images=features)
    assert found[0].total == pytest.approx(wanted[0].total, abs=1e-9)
    assert found[1].keys() == wanted[1].keys()
    assert not any(name.startswith("visual.") for name in found[1])
    for name, gradient in wanted[1].items():
        assert (found[1][name] - gradient).abs().max() < 1e-9, name


def test_other_images_give_another_gradient(tmp_path):
    """The control: the features are looked up by the images' numbers."""
    model = coca.build(tiny_config(), 1).double()
    features = _features(tmp_path, model=model)
    turned = BATCH.__class__(BATCH.keys, BATCH.pixels, BATCH.text, BATCH.owner, BATCH.images.flip(0))
    one, other = (gradients(b, tune="text", model=model, images=features)[0] for b in (BATCH, turned))
    assert abs(one.contrastive - other.contrastive) > 1e-6


def test_they_are_computed_once_and_anew_for_other_data(tmp_path):
    model, asked, said = coca.build(tiny_config(), 1), [], []
    for facts in ({"data": "a"}, {"data": "a"}, {"data": "b"}):
        features = _features(tmp_path, model=model, images=normalised, facts=facts, asked=asked, say=said.append)
    assert asked == [(0, 6), (0, 6)]
    assert len(said) == 2
    assert said[0].startswith("image features of 6 images: 0.00 GB in ")
    assert len(features) == IMAGES
    assert json.loads((tmp_path / "features" / "about.json").read_text())["kept"] == "float32"
    assert [path.name for path in tmp_path.iterdir()] == ["features"]


def test_they_take_the_bytes_that_were_said(tmp_path):
    model = coca.build(tiny_config(), 1)
    _features(tmp_path, model=model, images=normalised, precision="bf16")
    on_disk = sum(path.stat().st_size for path in (tmp_path / "features").glob("*.bin"))
    assert on_disk == Shapes.of(model, contrastive=True).num_bytes(IMAGES, "float16")


def test_a_disk_that_is_too_small_is_said_before_anything_is_computed(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    asked = []
    with pytest.raises(UserError, match="the image features of 6 images need"):
        _features(tmp_path, model=coca.build(tiny_config(), 1), images=normalised, asked=asked)
    assert not asked
    assert not list(tmp_path.iterdir())


def test_a_number_that_does_not_fit_is_refused_and_not_kept_as_infinity(tmp_path):
    model = coca.build(tiny_config(), 1)
    with torch.no_grad():
        model.visual.ln_post.weight.mul_(1e6)
    with pytest.raises(UserError, match=r"of images 0 to 5 do not fit into float16 .*say precision=fp32"):
        _features(tmp_path, model=model, images=normalised, precision="bf16")
    assert not (tmp_path / "features").exists()
