"""captioners/data/drawn_render.py: pictures in which every attribute can be seen, and no two look alike.

No digest of pixels: Pillow's rasterisers change between releases.
"""

import math
from io import BytesIO
from itertools import product

import numpy as np
import pytest
from PIL import Image

from captioners.data.drawn_render import PAINT, RADIUS, jpeg, masks, render
from captioners.data.drawn_scene import COLOURS, SHAPES, Scene, Thing, scene

SCENES = [scene(0, "pretrain", k) for k in range(150)]

# Area of each shape over its radius squared, by school geometry from the proportions that the world was drawn with.
AREAS = {
    "circle": math.pi * 0.96**2,
    "square": (2 * 0.84) ** 2,
    "triangle": 0.5 * (2 * 0.98) * (0.98 + 0.78),
    "star": 10 * 0.5 * 1.04 * 0.5 * math.sin(math.radians(36)),
    "diamond": 0.5 * (2 * 0.66) * (2 * 1.06),
    "cross": 2 * (2 * 1.0) * (2 * 0.34) - (2 * 0.34) ** 2,
}


def _alone(thing, index=0):
    return Scene(0, "eval", index, "white", (thing,))


def _area(mask):
    return np.asarray(mask, dtype=np.float64).sum() / 255


def _brightness(picture):
    return np.asarray(picture.convert("L"), dtype=np.float64)


def _inside(mask):
    """Pixels well inside a thing: covered by it, and so are their neighbours."""
    covered = np.asarray(mask) > 250
    padded = np.pad(covered, 1)
    return covered & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def test_the_centre_of_a_plain_thing_has_its_colour():
    checked = 0
    for one in SCENES:
        pixels = np.asarray(Image.open(BytesIO(jpeg(one))).convert("RGB"), dtype=np.int64)
        for thing in one.things:
            if thing.texture != "plain":
                continue
            seen = pixels[thing.y, thing.x]
            nearest = min(COLOURS, key=lambda colour: np.abs(seen - PAINT[colour]).sum())
            assert nearest == thing.colour, f"{one.name}: {thing} has {seen} in its centre"
            assert np.abs(seen - PAINT[thing.colour]).max() <= 60
            checked += 1
    assert checked > 150


def test_colours_stay_apart_under_every_tint_and_light():
    """The largest change that a colour sees (tint 14, light down to 0.88, noise) stays below half of any distance."""
    for one, other in product(COLOURS, COLOURS):
        if one != other:
            assert np.abs(np.subtract(PAINT[one], PAINT[other])).max() > 80


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", ["large", "small"])
def test_the_area_of_a_shape_is_the_one_of_geometry(shape, size):
    low, high = (AREAS[shape] * radius**2 for radius in RADIUS[size])
    areas = [_area(masks(_alone(Thing(shape, "red", size, "plain", 48, 48), k))[0]) for k in range(40)]
    assert min(areas) > low * 0.95
    assert max(areas) < high * 1.05
    assert max(areas) - min(areas) > (high - low) * 0.5  # sizes vary within their kind


def test_large_is_clearly_larger_than_small():
    low, high = min(RADIUS["large"]), max(RADIUS["small"])
    assert (low / high) ** 2 >= 2.2


def test_things_are_where_the_scene_says_inside_the_picture_and_do_not_overlap():
    for one in SCENES:
        drawn = [np.asarray(mask, dtype=np.int64) for mask in masks(one)]
        assert sum(drawn).max() <= 255
        for thing, mask in zip(one.things, drawn, strict=True):
            across, down = np.arange(96) * (mask > 127), np.arange(96)[:, None] * (mask > 127)
            covered = (mask > 127).sum()
            # A triangle's middle of mass lies a fifth of its radius below its centre.
            assert abs(across.sum() / covered - thing.x) < 1.5
            assert abs(down.sum() / covered - thing.y - (2.0 if thing.shape == "triangle" else 0)) < 1.5


def _contrast(shape, size, texture, colour, index):
    one = _alone(Thing(shape, colour, size, texture, 48, 48), index)
    picture = _brightness(Image.open(BytesIO(jpeg(one))))
    return picture[_inside(masks(one)[0])].std()


def test_textures_show_on_every_shape_colour_and_size():
    for number, (shape, size, colour) in enumerate(product(SHAPES, ("large", "small"), COLOURS)):
        plain = _contrast(shape, size, "plain", colour, number)
        for texture in ("striped", "dotted"):
            marked = _contrast(shape, size, texture, colour, number)
            assert marked > 10, f"{size} {texture} {colour} {shape}: {marked:.1f}"
            assert marked > 2 * plain, f"{size} {texture} {colour} {shape}: {marked:.1f}, plain {plain:.1f}"


def test_a_picture_varies_in_what_no_caption_says():
    thing = Thing("square", "blue", "large", "striped", 48, 48)
    files = [jpeg(_alone(thing, k)) for k in range(20)]
    assert len(set(files)) == 20
    tables = {tuple(Image.open(BytesIO(file)).quantization[0]) for file in files}
    assert len(tables) > 5  # JPEG qualities
    corners = {tuple(np.asarray(render(_alone(thing, k)))[2, 2] // 4) for k in range(20)}
    assert len(corners) > 10  # paper and light


def test_a_picture_is_drawn_alike_every_time_and_is_a_jpeg_of_96_pixels():
    assert jpeg(SCENES[3]) == jpeg(scene(0, "pretrain", 3))
    picture = Image.open(BytesIO(jpeg(SCENES[3])))
    assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (96, 96))


@pytest.mark.parametrize("side", [48, 64, 224])
def test_other_sizes_show_the_same_scene(side):
    for one in SCENES[:10]:
        larger = _brightness(render(one, side).resize((24, 24), Image.Resampling.BOX))
        assert np.abs(larger - _brightness(render(one).resize((24, 24), Image.Resampling.BOX))).mean() < 6
        for mask, small in zip(masks(one, side), masks(one), strict=True):
            assert _area(mask) * (96 / side) ** 2 == pytest.approx(_area(small), rel=0.1)
