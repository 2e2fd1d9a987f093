"""Fitting a picture is what open_clip does before it normalises, pixel for pixel, and needs no torch."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from captioners.core.errors import ImageError, UserError
from captioners.images.fit import Fit
from captioners.images.preprocess import Preprocess
from tests.images.pictures import noise

SIZES = [
    *[(1, 1), (224, 224), (223, 224), (224, 225), (225, 224), (500, 333), (333, 500), (640, 427), (1023, 257)],
    *[(7, 300), (300, 7), (2, 900), (449, 448), (448, 449), (101, 99), (336, 224), (224, 336), (1000, 999), (97, 61)],
]
TARGETS = [224, [224, 224], 97, (96, 96), (224, 160), (160, 224), (97, 64)]


def theirs(image, cfg):
    """open_clip's own transform, up to where it makes a tensor."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    steps = image_transform_v2(PreprocessCfg(**cfg), is_train=False).transforms
    names = [type(step).__name__ for step in steps]
    for step in steps[: names.index("MaybeToTensor")]:
        image = step(image)
    return image


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_pixels_are_open_clips_own(target, mode, interpolation):
    cfg = {"size": target, "resize_mode": mode, "interpolation": interpolation, "fill_color": 77}
    fit = Fit.of(cfg)
    for number, (width, height) in enumerate(SIZES):
        image = noise(1040, 1040, seed=number).crop((0, 0, width, height))
        try:
            expected = np.asarray(theirs(image, cfg))
        except ValueError:  # Pillow refuses a side of 0
            with pytest.raises(ImageError, match="too long and narrow"):
                fit(image)
            continue
        found = fit(image)
        assert np.array_equal(np.asarray(found), expected), (width, height)
        # Fitted once, nothing changes it any more: neither we nor open_clip.
        assert np.array_equal(np.asarray(fit(found)), expected)
        assert np.array_equal(np.asarray(theirs(found, cfg)), expected)


def test_random_sizes_agree_too():
    draws = np.random.default_rng(5)
    for _ in range(60):
        width, height = (int(side) for side in draws.integers(1, 700, 2))
        cfg = {"size": int(draws.integers(16, 400)), "resize_mode": str(draws.choice(["shortest", "longest"]))}
        image = Image.fromarray(draws.integers(0, 256, (height, width, 3), dtype=np.uint8))
        try:
            expected = np.asarray(theirs(image, cfg))
        except ValueError:
            continue
        assert np.array_equal(np.asarray(Fit.of(cfg)(image)), expected), (width, height, cfg)


def test_the_comparison_sees_a_crop_that_is_a_pixel_off():
    image = noise(500, 333)
    expected = np.asarray(theirs(image, {"size": 224}))
    resized = image.resize((336, 224), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(resized.crop((56, 0, 280, 224))), expected)
    assert not np.array_equal(np.asarray(resized.crop((57, 0, 281, 224))), expected)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_a_fitted_picture_gives_the_tensor_of_the_whole_one(mode):
    import torch

    cfg = {"size": 224, "resize_mode": mode}
    preprocess, image = Preprocess(cfg), noise(640, 480)
    assert torch.equal(preprocess(Fit.of(cfg)(image)), preprocess(image))


def test_a_line_is_refused_before_it_takes_the_machines_memory():
    for size in ((1, 65_000), (65_000, 1)):
        with pytest.raises(ImageError, match="too long and narrow") as caught:
            Fit(224, 224)(Image.new("RGB", size))
        assert caught.value.reason == "too_narrow"
    # A long panorama is none.
    assert Fit(224, 224)(Image.new("RGB", (30_000, 100))).size == (224, 224)


@pytest.mark.parametrize("size", [0, -1, [224, 224, 3], "224", [], [0, 3]], ids=str)
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(UserError, match="size"):
        Fit.of({"size": size})


def test_an_unknown_mode_is_refused():
    with pytest.raises(UserError, match="resize_mode 'stretch'; it is shortest, longest, squash"):
        Fit.of({"size": 224, "resize_mode": "stretch"})


def test_it_travels_to_another_process_and_needs_no_torch_there():
    fit = Fit.of({"size": [224, 160], "resize_mode": "longest"})
    assert pickle.loads(pickle.dumps(fit)) == fit
    code = "import sys, captioners.images.fit; sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
