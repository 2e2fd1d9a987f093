"""Preprocess is open_clip's evaluation transform, with a digest that says when two are equal."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from captioners.core.errors import UserError
from captioners.images.decode import read_image
from captioners.images.preprocess import Preprocess
from tests.images.pictures import quadrants

CFG = {
    "size": 224,
    "mode": "RGB",
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}


def _photos():
    from sklearn import datasets

    return [read_image(Path(datasets.__file__).parent / "images" / name).image for name in ("china.jpg", "flower.jpg")]


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_equals_open_clips_own_transform(resize_mode):
    from open_clip.transform import image_transform

    theirs = image_transform(
        224, is_train=False, mean=CFG["mean"], std=CFG["std"], resize_mode=resize_mode, interpolation="bicubic"
    )
    ours = Preprocess(CFG | {"resize_mode": resize_mode})
    for photo in (*_photos(), quadrants(33, 500)):
        found = ours(photo)
        assert found.shape == (3, 224, 224)
        assert found.dtype == torch.float32
        assert torch.equal(found, theirs(photo))


def test_known_value():
    white = Preprocess(CFG)(Image.new("RGB", (300, 400), "white"))
    expected = torch.tensor([(1 - m) / s for m, s in zip(CFG["mean"], CFG["std"], strict=True)])
    assert torch.allclose(white, expected[:, None, None].expand_as(white))


def test_digest_is_of_the_meaning_not_of_the_spelling():
    short = Preprocess({"size": 224})
    assert short.digest == Preprocess({key: list(v) if isinstance(v, tuple) else v for key, v in CFG.items()}).digest
    assert short.digest != Preprocess({"size": 256}).digest
    assert len(short.digest) == 64


def test_a_missing_size_and_an_unknown_field_are_refused():
    with pytest.raises(UserError, match="lacks 'size'"):
        Preprocess({"mean": CFG["mean"]})
    with pytest.raises(UserError, match=r"unknown field 'interpolaton'\. Did you mean 'interpolation'"):
        Preprocess({"size": 224, "interpolaton": "bicubic"})


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_pixels_kept_as_bytes_become_what_captioning_sees(resize_mode):
    ours = Preprocess(CFG | {"resize_mode": resize_mode})
    pictures = [*_photos(), quadrants(33, 500)]
    kept = [ours.pixels(picture) for picture in pictures]
    assert all(pixels.shape == (3, 224, 224) and pixels.dtype == "uint8" for pixels in kept)
    found = ours.normalised(torch.stack([torch.from_numpy(pixels) for pixels in kept]))
    assert torch.equal(found, torch.stack([ours(picture) for picture in pictures]))
