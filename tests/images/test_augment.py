"""Random crops: torchvision's boxes and pixels, from draws that depend on (seed, epoch, sample) alone."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as F
from torchvision.transforms import transforms as theirs

from captioners.core.seeds import uniforms
from captioners.images import augment
from captioners.images.augment import Augmented, View, crop_box
from captioners.images.fit import Fit
from captioners.images.pool import DecodePool
from tests.images.pictures import encoded, noise

RATIO = (3 / 4, 4 / 3)


class Scripted:
    """Stands for `torch` inside torchvision: its draws are the given ones, four a try."""

    def __init__(self, drawn):
        self.drawn, self.at, self.log, self.exp, self.tensor = drawn, -4, torch.log, torch.exp, torch.tensor

    def empty(self, count):
        scripted = self

        class Drawn:
            def uniform_(self, low, high):
                if not isinstance(low, torch.Tensor):  # the area, first of a try
                    scripted.at += 4
                    return torch.tensor([low + scripted.drawn[scripted.at] * (high - low)], dtype=torch.float64)
                return (low + scripted.drawn[scripted.at + 1] * (high - low)).double()

        return Drawn()

    def randint(self, low, high, size):
        self.at += 1
        return torch.tensor([int(self.drawn[self.at + 1] * high)])


@pytest.mark.parametrize(
    ("size", "scale", "ratio"),
    [
        ((640, 480), (0.9, 1.0), RATIO),
        ((31, 57), (0.08, 1.0), RATIO),
        ((500, 20), (0.9, 1.0), RATIO),  # too wide for any try: the middle
        ((20, 500), (0.9, 1.0), RATIO),
        ((1, 1), (0.5, 0.6), RATIO),
        ((200, 100), (0.9, 1.0), (1.0, 1.0)),
    ],
)
def test_boxes_are_those_of_torchvision_given_the_same_draws(monkeypatch, size, scale, ratio):
    width, height = size
    for number in range(60):
        drawn = uniforms(40, "test", number).tolist()
        monkeypatch.setattr(theirs, "torch", Scripted(drawn))
        top, left, tall, wide = RandomResizedCrop.get_params(Image.new("RGB", size), list(scale), list(ratio))
        monkeypatch.undo()
        assert crop_box(width, height, scale, ratio, drawn) == (left, top, wide, tall)


@pytest.mark.parametrize(
    ("resampling", "mode"),
    [(Image.Resampling.BICUBIC, InterpolationMode.BICUBIC), (Image.Resampling.BILINEAR, InterpolationMode.BILINEAR)],
)
def test_pixels_are_those_of_torchvision_given_the_same_box(monkeypatch, resampling, mode):
    image = noise(90, 70)
    boxes = []
    monkeypatch.setattr(augment, "crop_box", lambda *given: boxes.append(crop_box(*given)) or boxes[-1])
    for number in range(8):
        view = View((0.2, 1.0), RATIO, 0.0, (0, 0, number))
        ours = view(image, Fit(32, 24, resampling=resampling))
        left, top, wide, tall = boxes[-1]
        wanted = F.resized_crop(image, top, left, tall, wide, [32, 24], mode)
        assert np.array_equal(np.asarray(ours), np.asarray(wanted))
    assert len(set(boxes)) == 8
    # The negative control: a box one pixel off is another picture.
    off = F.resized_crop(image, top, left, tall, wide - 1, [32, 24], mode)
    assert not np.array_equal(np.asarray(ours), np.asarray(off))


def test_a_view_depends_on_seed_epoch_and_sample_alone():
    image, fit = noise(60, 60), Fit(16, 16)
    augmentation = Augmented(random_resized_crop={"scale": [0.3, 1.0]})

    def seen(*name):
        return View.of(augmentation, *name)(image, fit).tobytes()

    assert seen(0, 0, "a") == seen(0, 0, "a")
    assert len({seen(0, 0, "a"), seen(1, 0, "a"), seen(0, 1, "a"), seen(0, 0, "b")}) == 4
    assert View.of("none", 0, 0, "a") is None


def test_areas_and_ratios_are_spread_over_what_was_asked_for():
    boxes = [crop_box(1000, 1000, (0.25, 0.75), RATIO, uniforms(40, "spread", n).tolist()) for n in range(2000)]
    areas = np.array([wide * tall / 1e6 for _, _, wide, tall in boxes])
    assert 0.249 < areas.min() < 0.26
    assert 0.74 < areas.max() < 0.751
    assert abs(areas.mean() - 0.5) < 5 * (0.5 / 12**0.5) / 2000**0.5
    logs = np.log([wide / tall for _, _, wide, tall in boxes])
    assert abs(logs.mean()) < 0.02
    assert abs(np.abs(logs).max() - np.log(4 / 3)) < 0.01


def test_pictures_are_mirrored_as_often_as_asked_and_never_by_default():
    image, fit = noise(24, 24), Fit(24, 24)
    whole = {"scale": [1.0, 1.0], "ratio": [1.0, 1.0]}
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()
    for flip, least, most in ((0.0, 0, 0), (0.5, 65, 135), (1.0, 200, 200)):
        augmentation = Augmented(random_resized_crop=whole, horizontal_flip=flip)
        views = [View.of(augmentation, 0, 0, n)(image, fit).tobytes() for n in range(200)]
        assert set(views) <= {mirrored, image.tobytes()}
        assert least <= views.count(mirrored) <= most
    assert Augmented(random_resized_crop={}).horizontal_flip == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"scale": [0.9, 0.5]}, "scale"), ({"scale": [0.0, 1.0]}, "scale"), ({"ratio": [2.0, 1.0]}, "ratio"),
     ({"scale": [0.5]}, "scale"), ({"size": 3}, "size")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        Augmented(random_resized_crop=fields)


@pytest.mark.parametrize("workers", [0, 1])
def test_decode_processes_make_the_same_views(workers):
    fit = Fit(16, 16)
    pictures = {f"{n}": encoded(noise(40, 30 + n), "PNG") for n in range(3)}
    views = {name: View((0.2, 0.9), RATIO, 0.5, (7, 1, name)) for name in pictures}
    with DecodePool(workers, fit=fit) as pool:
        shown = list(pool.map(pictures, pictures.__getitem__, str, view=views.__getitem__))
        plain = list(pool.map(pictures, pictures.__getitem__, str))
    for name, picture in shown:
        whole = noise(40, 30 + int(name))
        assert picture.image.tobytes() == views[name](whole, fit).tobytes()
    assert all(a[1].image.tobytes() != b[1].image.tobytes() for a, b in zip(shown, plain, strict=True))


def test_a_view_goes_through_json():
    view = View((0.2, 0.9), RATIO, 0.5, (7, 1, "s: 3"))
    assert View.from_json(json.loads(json.dumps(view.to_json()))) == view
