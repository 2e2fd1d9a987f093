"""Draws and replays of augmentations: torchvision's own operations are the reference, pixel for pixel."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import _apply_op

from captioners.core.errors import UserError
from captioners.reinforcement.augmentation import (
    OPERATIONS,
    Augmentation,
    as_config,
    draw,
    magnitude_of,
    replay,
)

SHA = "ab" * 32
DEFAULT = Augmentation()
# As the reference documents them (reference, section 1.3); written out anew.
NAMES = [
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast"),
    *("Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
]


def photo(width=320, height=240):
    """Smooth colours with some noise: what equalising, sharpening and cubic resizing change visibly."""
    across, down = np.meshgrid(np.linspace(0, 200, width), np.linspace(0, 180, height))
    colours = np.stack([across, down, 255 - (across + down) / 2], -1)
    return Image.fromarray(
        (colours + np.random.default_rng(1).integers(0, 40, colours.shape)).clip(0, 255).astype("u1")
    )


def replayed_by_torchvision(image, params, size=224, interpolation="bicubic"):
    """The documented rules, by torchvision's functional operations alone."""
    (top, left, height, width), *rest = params
    sides = [size, size] if isinstance(size, int) else list(size)
    view = F.resized_crop(image, top, left, height, width, sides, InterpolationMode(interpolation))
    for index, magnitude in (rest[0] or []) if rest else []:
        view = _apply_op(view, NAMES[index], magnitude, interpolation=InterpolationMode.NEAREST, fill=None)
    return view


def same(one, other):
    return one.size == other.size and one.tobytes() == other.tobytes()


def test_operations_stand_in_the_documented_order():
    assert list(OPERATIONS) == NAMES
    assert list(T.RandAugment()._augmentation_space(31, (224, 224))) == NAMES


@pytest.mark.parametrize("bins", [2, 10, 31, 32])
@pytest.mark.parametrize("size", [224, (336, 256)])
def test_magnitudes_are_torchvisions_bit_for_bit(bins, size):
    theirs = T.RandAugment()._augmentation_space(bins, size if isinstance(size, tuple) else (size, size))
    for name, (values, signed) in theirs.items():
        for at in range(bins):
            ours = magnitude_of(name, Augmentation(size=size, magnitude=at, num_bins=bins))
            assert ours == (float(values[at]) if values.ndim else 0.0, signed), (name, at)


@pytest.mark.parametrize("index", range(14))
def test_each_operation_gives_torchvisions_pixels_at_every_magnitude_and_at_odd_ones(index):
    image = photo(97, 64)
    odd = {10: [1, 3.7, 8], 11: [0.0, 127.5, 255.0]}.get(index, [-0.77, -1 / 3, 1e-4, 0.123456789])
    values = [magnitude_of(NAMES[index], Augmentation(magnitude=at, size=(64, 97)))[0] for at in range(0, 31, 3)]
    signs = (1, -1) if index in range(1, 10) else (1,)
    for magnitude in [*(sign * value for value in values for sign in signs), *odd]:
        params = [[0, 0, 64, 97], [[index, magnitude]]]
        ours = replay(image, params, Augmentation(num_ops=1), (64, 97))
        assert same(ours, replayed_by_torchvision(image, params, (64, 97))), (NAMES[index], magnitude)


def test_draws_replayed_equal_torchvision_through_json():
    for k in range(150):
        width, height = [(320, 240), (97, 401), (500, 30), (1, 1), (224, 224)][k % 5]
        image = photo(width, height)
        params = json.loads(json.dumps(draw(DEFAULT, width, height, 0, SHA, k)))
        assert same(replay(image, params, DEFAULT), replayed_by_torchvision(image, params))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"])
def test_a_student_of_another_size_sees_the_same_box(interpolation):
    image, params = photo(), draw(DEFAULT, 320, 240, 0, SHA, 3)
    ours = replay(image, params, DEFAULT, (160, 192), interpolation)
    assert same(ours, replay(image, params, Augmentation(interpolation=interpolation), (160, 192)))
    assert ours.size == (192, 160)
    assert same(ours, replayed_by_torchvision(image, params, (160, 192), interpolation))


def test_the_worked_example_of_the_format_replays():
    image = photo(500, 500)
    params = [[98, 42, 376, 439], [[9, -0.26999998], [3, -30.453172]]]
    by_hand = image.crop((42, 98, 42 + 439, 98 + 376)).resize((224, 224), Image.Resampling.BICUBIC)
    sharp = F.adjust_sharpness(by_hand, 1 - 0.26999998)
    moved = np.zeros((224, 224, 3), np.uint8)  # 30 px to the left; what comes in from the right is black
    moved[:, :194] = np.asarray(sharp)[:, 30:]
    assert np.array_equal(np.asarray(replay(image, params, DEFAULT)), moved)


def test_a_draw_depends_on_seed_picture_and_number_alone():
    one = draw(DEFAULT, 320, 240, 7, SHA, 4)
    assert draw(DEFAULT, 320, 240, 7, SHA, 4) == one
    others = [
        draw(DEFAULT, 320, 240, 8, SHA, 4),
        draw(DEFAULT, 320, 240, 7, "cd" * 32, 4),
        draw(DEFAULT, 320, 240, 7, SHA, 5),
    ]
    assert one not in others
    # These values are in shards that were written: they must never change.
    assert one == [[11, 17, 224, 264], [[6, -0.26999998092651367], [0, 0.0]]]


def test_draws_touch_no_global_generator():
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    draw(DEFAULT, 320, 240, 7, SHA, 4)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_draws_are_distributed_as_torchvisions():
    draws = [draw(DEFAULT, 400, 300, 0, SHA, k) for k in range(2000)]
    operations = Counter(index for _, chosen in draws for index, _ in chosen)
    expected = 4000 / 14
    assert sum((operations[i] - expected) ** 2 / expected for i in range(14)) < 34.5  # chi-square, 13 degrees, 0.1 %
    rotations = Counter(magnitude for _, chosen in draws for index, magnitude in chosen if index == 5)
    assert set(rotations) == {9.0, -9.0}
    assert abs(rotations[9.0] - rotations[-9.0]) < 4 * math.sqrt(rotations.total())
    generator = torch.random.get_rng_state()
    torch.manual_seed(0)
    image = photo(400, 300)
    theirs = [T.RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(2000)]
    torch.random.set_rng_state(generator)
    for column in range(4):
        ours = sorted(box[column] for box, _ in draws)
        apart = np.abs(np.subtract(ours, sorted(box[column] for box in theirs))).mean()
        assert apart < 8, column  # mean distance of the two distributions, in pixels
        assert np.abs(np.subtract(ours, sorted(box[3 - column] for box in theirs))).mean() > 8, "the negative control"


def test_a_share_of_draws_can_be_left_without_operations():
    half = Augmentation(p=0.5)
    draws = [draw(half, 320, 240, 0, SHA, k) for k in range(400)]
    left_out = [params for params in draws if params[1] is None]
    assert 150 < len(left_out) < 250
    image, params = photo(), left_out[0]
    assert same(replay(image, params, half), replayed_by_torchvision(image, params))
    assert all(draw(DEFAULT, 320, 240, 0, SHA, k)[1] for k in range(100))


def test_the_crop_alone_has_no_second_parameter():
    crop = Augmentation(num_ops=0)
    params = draw(crop, 320, 240, 0, SHA, 0)
    assert len(params) == 1
    assert same(replay(photo(), params, crop), replayed_by_torchvision(photo(), params))
    assert "rand_augment" not in as_config(crop)
    assert Augmentation.of(as_config(crop)) == crop


BOX = [0, 0, 10, 10]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ([[0, 0, 10, 400], None], "leaves the picture of 320 x 240"),
        ([[-1, 0, 10, 10], None], "leaves the picture"),
        ([[0, 0, 0, 10], None], "leaves the picture"),
        ("[[0,0,10,10],null]", "is not"),
        ([], "is not"),
        ([[0, 0, 10.0, 10], None], "is not"),
        ([BOX, [[1, 0.1]]], "2 x"),
        ([BOX, [[14, 0.1], [0, 0]]], "operation of 0 to 13"),
        ([BOX, [[True, 0.1], [0, 0]]], "operation"),
        ([BOX, [[10, 0], [0, 0]]], "operation"),
        ([BOX, [[5, math.nan], [0, 0]]], "operation"),
        ([BOX, [[5, "9"], [0, 0]]], "operation"),
        ([BOX, None, None], "is not"),
    ],
)
def test_what_is_no_draw_of_this_picture_is_refused_in_a_line(params, said):
    with pytest.raises(UserError, match=said) as error:
        replay(photo(), params, DEFAULT)
    assert "\n" not in str(error.value)
    replay(photo(), [BOX, [[0, 0.0], [10, 8]]], DEFAULT)


def test_the_configuration_is_the_references():
    published = {
        "normalize": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]},
        "rand_augment": {"enable": True, "p": 1.0},
        "random_resized_crop": {"interpolation": "bicubic", "size": 224},
        "to_rgb": {"enable": True},
        "to_tensor": {"enable": True},
    }
    assert Augmentation.of(published) == DEFAULT
    ours = as_config(DEFAULT)
    assert list(ours) == list(published)
    for step, options in published.items():
        assert options.items() <= ours[step].items()
    # The trainer hands the fields to torchvision's classes as they are.
    crop = {
        **ours["random_resized_crop"],
        "interpolation": InterpolationMode(ours["random_resized_crop"]["interpolation"]),
    }
    made = T.RandomResizedCrop(**crop)
    assert (made.scale, made.ratio) == (list(DEFAULT.scale), list(DEFAULT.ratio))
    T.RandAugment(**{name: value for name, value in ours["rand_augment"].items() if name not in ("enable", "p")})
    T.Normalize(**ours["normalize"])
    other = Augmentation((192, 256), (0.5, 0.9), (1.0, 1.0), "bilinear", 3, 4, 11, 0.25)
    assert Augmentation.of(json.loads(json.dumps(as_config(other)))) == other
    assert Augmentation.of({"random_resized_crop": {"size": 64}, "rand_augment": {"enable": False}}).num_ops == 0


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"random_resized_crop": {"size": 224}, "mixup": {}}, "'mixup' is not known here"),
        ({"rand_augment": {"p": 1.0}}, "random_resized_crop with its size is missing"),
        ({"random_resized_crop": {"size": 224, "scael": [0.1, 1]}}, "Did you mean 'scale'"),
        ({"random_resized_crop": {"size": 224, "scale": [0, 1]}}, "0 < area"),
        ({"random_resized_crop": {"size": 0}}, "size 0"),
        ({"random_resized_crop": {"size": 224, "interpolation": "cubic"}}, "cubic"),
        ({"random_resized_crop": {"size": 224}, "rand_augment": {"magnitude": 31}}, "31 bins"),
        ({"random_resized_crop": {"size": 224}, "rand_augment": {"p": 1.5}}, "no share"),
        ({"random_resized_crop": {"size": 224}, "to_rgb": True}, "to_rgb: {enable: true}"),
        ([1], "is not {step: {option: value}}"),
        ({"random_resized_crop": {"size": "224"}}, "size '224' is not a whole number or a pair of them"),
        ({"random_resized_crop": {"size": [224]}}, "is not a whole number or a pair of them"),
        ({"random_resized_crop": {"size": 224, "scale": 0.5}}, "scale 0.5 is not a pair of numbers"),
        ({"random_resized_crop": {"size": 224, "interpolation": 3}}, "interpolation 3 is not a text"),
        ({"random_resized_crop": {"size": 224}, "rand_augment": {"num_ops": True}}, "num_ops True is not a whole"),
    ],
)
def test_a_configuration_that_cannot_be_replayed_is_refused(config, said):
    with pytest.raises(UserError, match=said):
        Augmentation.of(config)
