"""Scenes of the drawn world: which things are where, from a seed alone.

A scene is one to four things on distinct cells of a 3 x 3 grid, each with a shape, a colour, a size and a texture,
before a pale background. All of it follows from (seed, split, index) through a `random.Random` seeded with text, by
its method `random()`, whose sequence Python promises to keep. Prior art: ShapeWorld (arXiv 1704.04517).

The world is frozen: whatever changes a scene, a picture or a caption raises `WORLD_VERSION`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from random import Random
from typing import Any, TypeVar

from captioners.core.errors import NotFoundError, UserError, near

WORLD_VERSION = 1
NOTICE = "drawn world: proves the pipeline, not magnitudes"
"""What stands on every page about it."""

CANVAS = 96
"""Side of the world in px; positions are in these, whatever size is drawn."""
CELL = 32
JITTER = 3
"""Px that a centre is moved from its cell's, at most: two things of one row are never 'above' each other."""
MARGIN = 12
"""Px by which centres must differ, and not less, for left, right, above or below to hold."""

SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
COLOURS = ("red", "blue", "green", "yellow", "black", "purple", "pink", "cyan")
SIZES = ("large", "small")
TEXTURES = ("plain", "striped", "dotted")
BACKGROUNDS = ("white", "grey", "cream", "sky", "mint")
RELATIONS = ("left", "right", "above", "below")

ATTRIBUTES: dict[str, tuple[str, ...]] = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "texture": TEXTURES}
"""What a thing has; 6 x 8 x 2 x 3 = 288 sorts of thing."""

SPLITS: dict[str, tuple[int, ...]] = {"pretrain": (0, 1, 2, 3), "finetune": (4, 5), "caption": (6,), "eval": (7,)}
"""Split -> the eighths of all scene contents that are its own; so no content is in two splits, whatever the seeds."""

# Commoner and rarer, but mildly: a language prior worth guessing by, and every sort of thing still in a few thousand.
_SHAPE_WEIGHTS = (24, 20, 17, 14, 13, 12)
_COLOUR_WEIGHTS = (18, 16, 14, 13, 11, 10, 10, 8)
_SIZE_WEIGHTS = (55, 45)
_TEXTURE_WEIGHTS = (56, 22, 22)
_NUMBER_WEIGHTS = (20, 30, 30, 20)
_USUAL_COLOUR = dict(zip(SHAPES, ("red", "blue", "green", "yellow", "purple", "black"), strict=True))
_USUAL = 0.2  # a fifth of all things have their shape's usual colour, on top of chance: what a lazy captioner says

T = TypeVar("T")


class Draws:
    """Random draws by name; the same name gives the same draws in every process and on every platform.

    >>> Draws("a name").pick("abc") == Draws("a name").pick("abc")
    True
    """

    def __init__(self, name: str) -> None:
        # No other method of Random is used: Python promises the sequence of `random()` alone.
        self._next = Random(name).random  # noqa: S311 - pictures and words, no secrets

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a float in [low, high)."""
        return low + (high - low) * self._next()

    def integer(self, low: int, high: int) -> int:
        """Return an integer in low..high, both included."""
        return low + int(self._next() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """Return True with that probability."""
        return self._next() < probability

    def pick(self, things: Sequence[T]) -> T:
        """Return one of `things`, each as likely."""
        return things[int(self._next() * len(things))]

    def weighted(self, things: Sequence[T], weights: Sequence[int]) -> T:
        """Return one of `things`, by integer weights."""
        left = int(self._next() * sum(weights))
        for thing, weight in zip(things, weights, strict=True):
            if left < weight:
                return thing
            left -= weight
        raise AssertionError("weights must be positive")

    def shuffled(self, things: Sequence[T]) -> list[T]:
        """Return `things` in random order (Fisher-Yates)."""
        order = list(things)
        for last in range(len(order) - 1, 0, -1):
            other = int(self._next() * (last + 1))
            order[last], order[other] = order[other], order[last]
        return order


@dataclass(frozen=True)
class Thing:
    """One thing of a scene; its centre is (x, y) px from the upper left corner of the 96 px canvas."""

    shape: str
    colour: str
    size: str
    texture: str
    x: int
    y: int

    @property
    def cell(self) -> int:
        """Its cell of the grid, 0..8 in reading order."""
        return self.y // CELL * 3 + self.x // CELL

    def has(self, attributes: dict[str, str]) -> bool:
        """Say whether it has all of these; what is not named does not matter."""
        return all(getattr(self, name) == value for name, value in attributes.items())


@dataclass(frozen=True)
class Scene:
    """What a picture of the drawn world shows, and which one it is."""

    seed: int
    split: str
    index: int
    background: str
    things: tuple[Thing, ...]
    """In reading order."""

    @property
    def name(self) -> str:
        """What its picture and its captions are drawn from, with the world's version."""
        return f"drawn{WORLD_VERSION}/{self.seed}/{self.split}/{self.index}"

    @property
    def content_key(self) -> str:
        """Hexadecimal sha256 of which things are in which cells: without jitter, background and rendering."""
        return content_key(self.things)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values, which `from_json` reads back."""
        return {**asdict(self), "things": [asdict(thing) for thing in self.things]}


def content_key(things: Sequence[Thing]) -> str:
    """Return the hexadecimal sha256 of which things are in which cells; two scenes of one key differ in looks alone."""
    said = sorted([thing.cell, thing.shape, thing.colour, thing.size, thing.texture] for thing in things)
    return sha256(json.dumps(said).encode()).hexdigest()


def split_of(key: str) -> str:
    """Return the one split that a content key belongs to."""
    eighth = int(key[:8], 16) % 8
    return next(split for split, eighths in SPLITS.items() if eighth in eighths)


def scene(seed: int, split: str, index: int) -> Scene:
    """Return scene number `index` of a split; `seed` and `index` are any integers from 0.

    Scenes are drawn until one's content belongs to the split: 2 times on average in `pretrain`, 8 in `eval`.
    """
    if split not in SPLITS:
        raise NotFoundError(f"no split is named {split!r}.{near(split, SPLITS)} Known: {', '.join(SPLITS)}")
    draws = Draws(f"drawn{WORLD_VERSION}/{seed}/{split}/{index}/scene")
    while True:
        things = _things(draws)
        if split_of(content_key(things)) == split:
            return Scene(seed, split, index, draws.pick(BACKGROUNDS), things)


def _things(draws: Draws) -> tuple[Thing, ...]:
    number = draws.weighted((1, 2, 3, 4), _NUMBER_WEIGHTS)
    cells = sorted(draws.shuffled(range(9))[:number])
    return tuple(_thing(draws, cell) for cell in cells)


def _thing(draws: Draws, cell: int) -> Thing:
    shape = draws.weighted(SHAPES, _SHAPE_WEIGHTS)
    usual, other = draws.chance(_USUAL), draws.weighted(COLOURS, _COLOUR_WEIGHTS)
    return Thing(
        shape=shape,
        colour=_USUAL_COLOUR[shape] if usual else other,
        size=draws.weighted(SIZES, _SIZE_WEIGHTS),
        texture=draws.weighted(TEXTURES, _TEXTURE_WEIGHTS),
        x=cell % 3 * CELL + CELL // 2 + draws.integer(-JITTER, JITTER),
        y=cell // 3 * CELL + CELL // 2 + draws.integer(-JITTER, JITTER),
    )


def related(one: Thing, relation: str, other: Thing) -> bool:
    """Say whether `one` is left, right, above or below of `other`: by more than 12 px between their centres."""
    gap = {
        "left": other.x - one.x,
        "right": one.x - other.x,
        "above": other.y - one.y,
        "below": one.y - other.y,
    }[relation]
    return gap > MARGIN


def from_json(data: Any) -> Scene:
    """Return the scene that `Scene.to_json` wrote; raise `UserError` for anything else."""
    try:
        things = tuple(Thing(**thing) for thing in data["things"])
        found = Scene(data["seed"], data["split"], data["index"], data["background"], things)
        wrong = _wrong(found)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"not a scene of the drawn world ({type(error).__name__}: {error})") from error
    if wrong:
        raise UserError(f"not a scene of the drawn world {WORLD_VERSION}: {wrong}")
    return found


def _wrong(found: Scene) -> str:
    for thing in found.things:
        for name, values in ATTRIBUTES.items():
            if getattr(thing, name) not in values:
                return f"{name} {getattr(thing, name)!r}"
        if not (type(thing.x) is int and type(thing.y) is int and 0 <= thing.x < CANVAS and 0 <= thing.y < CANVAS):
            return f"a thing at ({thing.x!r}, {thing.y!r})"
    if type(found.seed) is not int or type(found.index) is not int:
        return f"seed {found.seed!r}, index {found.index!r}"
    if found.split not in SPLITS or found.background not in BACKGROUNDS:
        return f"split {found.split!r}, background {found.background!r}"
    return "" if 1 <= len(found.things) <= 4 else f"{len(found.things)} things"
