"""Pictures of the drawn world: a scene as RGB pixels and as a JPEG file.

A picture varies in what its captions never speak of (tints, light, a little rotation, noise, blur, JPEG quality), so
that the scene has to be seen. Each thing is drawn as integer polygons on a patch four times as fine and then averaged
down: edges are soft, and nothing hangs on how a rasteriser treats fractions. Pixels may still differ between releases
of Pillow; the scene, its captions and its facts do not.

Frozen like the scenes: what changes a picture on purpose raises `WORLD_VERSION`, and nothing makes it easier.
"""

import math
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from captioners.data.drawn_scene import CANVAS, CELL, SHAPES, Draws, Scene, Thing

FINE = 4
"""Sub-pixels per pixel, each way."""

PAINT: dict[str, tuple[int, int, int]] = {
    "red": (214, 30, 36),
    "blue": (34, 66, 214),
    "green": (36, 140, 52),
    "yellow": (246, 212, 22),
    "black": (28, 28, 32),
    "purple": (122, 36, 158),
    "pink": (250, 118, 180),
    "cyan": (40, 198, 216),
}
_LIGHT = ("yellow", "pink", "cyan")  # their stripes and dots are a dark tone of the colour, the others' a pale one
_PAPER: dict[str, tuple[int, int, int]] = {
    "white": (248, 248, 248),
    "grey": (212, 214, 218),
    "cream": (246, 236, 214),
    "sky": (214, 228, 244),
    "mint": (216, 240, 224),
}
RADIUS: dict[str, tuple[float, float]] = {"large": (12.0, 13.0), "small": (7.0, 8.0)}
"""Px of the 96 px canvas from the centre to the outermost, lowest and highest."""

Point = tuple[float, float]


def _ring(count: int, *radii: float) -> list[Point]:
    turns = [2 * math.pi * k / count - math.pi / 2 for k in range(count)]
    return [
        (radii[k % len(radii)] * math.cos(turn), radii[k % len(radii)] * math.sin(turn)) for k, turn in enumerate(turns)
    ]


_ARM = 0.34
_OUTLINES: dict[str, list[Point]] = {
    "circle": _ring(48, 0.96),
    "square": [(-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84)],
    "triangle": [(0.0, -0.98), (0.98, 0.78), (-0.98, 0.78)],
    "star": _ring(10, 1.04, 0.5),
    "diamond": [(0.0, -1.06), (0.66, 0.0), (0.0, 1.06), (-0.66, 0.0)],
    "cross": [
        *[(-_ARM, -1.0), (_ARM, -1.0), (_ARM, -_ARM), (1.0, -_ARM), (1.0, _ARM), (_ARM, _ARM)],
        *[(_ARM, 1.0), (-_ARM, 1.0), (-_ARM, _ARM), (-1.0, _ARM), (-1.0, -_ARM), (-_ARM, -_ARM)],
    ],
}
assert tuple(_OUTLINES) == SHAPES
"""Corners in radii from the centre; y grows downwards. A square and a tall diamond stay apart at any drawn angle."""


def render(scene: Scene, side: int = CANVAS) -> Image.Image:
    """Return the picture of a scene: RGB, `side` x `side` px."""
    draws = Draws(f"{scene.name}/picture")
    image = Image.new("RGB", (side, side), _tinted(_PAPER[scene.background], 5, draws))
    for thing in scene.things:
        base = _tinted(PAINT[thing.colour], 14, draws)
        patch, body, marks, corner = _patches(thing, draws, side)
        patch.paste(base, (0, 0, *patch.size))
        patch.paste(_mark(base, thing.colour), (0, 0), marks)
        image.paste(patch, corner, body)
    image = image.filter(ImageFilter.GaussianBlur(draws.uniform(0.0, 0.6) * side / CANVAS))
    return Image.fromarray(_lit(np.asarray(image), draws))


def jpeg(scene: Scene, side: int = CANVAS) -> bytes:
    """Return the picture of a scene as the bytes of a JPEG file, of a quality of its own between 75 and 95."""
    quality = Draws(f"{scene.name}/jpeg").integer(75, 95)
    file = BytesIO()
    render(scene, side).save(file, "JPEG", quality=quality)
    return file.getvalue()


def masks(scene: Scene, side: int = CANVAS) -> list[Image.Image]:
    """Return where each thing of a scene is: 'L' images of `side` x `side` px, 255 inside, in the scene's order."""
    draws = Draws(f"{scene.name}/picture")
    _tinted(_PAPER[scene.background], 5, draws)
    found = []
    for thing in scene.things:
        _tinted(PAINT[thing.colour], 14, draws)  # the draws that `render` makes before a thing's outline
        _, body, _, corner = _patches(thing, draws, side)
        mask = Image.new("L", (side, side))
        mask.paste(body, corner)
        found.append(mask)
    return found


def _tinted(colour: tuple[int, int, int], by: int, draws: Draws) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, part + draws.integer(-by, by))) for part in colour)
    return red, green, blue


def _mark(base: tuple[int, int, int], colour: str) -> tuple[int, int, int]:
    """Return the paint of stripes and dots."""
    if colour in _LIGHT:
        red, green, blue = (int(part * 0.48) for part in base)
    else:
        red, green, blue = (part + int((255 - part) * 0.72) for part in base)
    return red, green, blue


def _patches(thing: Thing, draws: Draws, side: int) -> tuple[Image.Image, Image.Image, Image.Image, tuple[int, int]]:
    """Return an empty RGB patch, the masks of body and marks on it, and its upper left corner in the picture.

    The number of draws does not depend on the thing.
    """
    radius = draws.uniform(*RADIUS[thing.size])
    turn = math.radians(draws.uniform(-9.0, 9.0))
    slant = math.radians(draws.uniform(0.0, 180.0))
    scale = side / CANVAS
    half = math.ceil((CELL / 2) * scale)
    corner = (round(thing.x * scale) - half, round(thing.y * scale) - half)
    fine = 2 * half * FINE
    # The centre on the patch, in sub-pixels; half a pixel on, because (x, y) names a pixel and its centre is meant.
    centre = ((thing.x + 0.5) * scale - corner[0]) * FINE, ((thing.y + 0.5) * scale - corner[1]) * FINE
    unit = scale * FINE
    body = Image.new("L", (fine, fine))
    outline = _OUTLINES[thing.shape]
    ImageDraw.Draw(body).polygon([_turned(p, turn, radius * unit, centre) for p in outline], fill=255)
    marks = Image.new("L", (fine, fine))
    _draw_marks(ImageDraw.Draw(marks), thing, slant, unit, centre)
    # A rim stays free of marks, for pale ones would melt into the paper and take the shape with them.
    inside = Image.new("L", (fine, fine))
    ImageDraw.Draw(inside).polygon([_turned(p, turn, 0.86 * radius * unit, centre) for p in outline], fill=255)
    small = (2 * half, 2 * half)
    return (
        Image.new("RGB", small),
        body.resize(small, Image.Resampling.BOX),
        ImageChops.multiply(inside, marks).resize(small, Image.Resampling.BOX),
        corner,
    )


def _turned(point: Point, turn: float, length: float, centre: Point) -> tuple[int, int]:
    cos, sin = math.cos(turn), math.sin(turn)
    x, y = point
    return round(centre[0] + length * (x * cos - y * sin)), round(centre[1] + length * (x * sin + y * cos))


def _draw_marks(canvas: ImageDraw.ImageDraw, thing: Thing, slant: float, unit: float, centre: Point) -> None:
    small = thing.size == "small"
    reach = RADIUS["large"][1] + 3  # px: a patch's corner is past every outline
    if thing.texture == "striped":
        period, width = (4.8, 2.0) if small else (6.0, 2.5)
        count = math.ceil(reach / period)
        for k in range(-count, count + 1):
            low, high = k * period - width / 2, k * period + width / 2
            band = [(-reach, low), (reach, low), (reach, high), (-reach, high)]
            canvas.polygon([_turned(point, slant, unit, centre) for point in band], fill=255)
    elif thing.texture == "dotted":
        apart, dot = (4.6, 1.35) if small else (5.8, 1.7)
        count = math.ceil(reach / apart) + 1
        for row in range(-count, count + 1):
            for column in range(-count, count + 1):
                # A hexagonal lattice, which no slant turns into stripes.
                at = ((column + row % 2 / 2) * apart, row * apart * math.sqrt(3) / 2)
                middle = _turned(at, slant, unit, centre)
                canvas.polygon([_turned(point, 0.0, dot * unit, middle) for point in _DOT], fill=255)


_DOT = _ring(12, 1.0)


def _lit(pixels: NDArray[np.uint8], draws: Draws) -> NDArray[np.uint8]:
    """Return pixels [H, W, 3] under a light that falls off to one side by up to a tenth, with a little noise."""
    turn, strength, grain = draws.uniform(0.0, 2 * math.pi), draws.uniform(0.0, 0.1), draws.uniform(0.0, 4.0)
    side = pixels.shape[0]
    along = np.linspace(-0.5, 0.5, side)
    light = 1.0 - strength * (0.7 + math.cos(turn) * along[None, :, None] + math.sin(turn) * along[:, None, None])
    key = draws.integer(0, 2**48)
    # Four raw bytes make one nearly normal value of variance 1: numpy keeps its raw streams, not its normal ones.
    raw = np.random.Philox(key=key).random_raw((pixels.size + 1) // 2).view(np.uint8)[: 4 * pixels.size]
    noise = (raw.reshape(-1, 4).sum(axis=1, dtype=np.int64) - 510.0) / 147.8
    lit = pixels * light + grain * noise.reshape(pixels.shape)
    shown: NDArray[np.uint8] = np.clip(lit + 0.5, 0, 255).astype(np.uint8)
    return shown
