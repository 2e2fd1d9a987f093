"""The source `drawn`: scenes of the drawn world, rendered as they are read; it needs no files and no network.

What it proves is the pipeline, never magnitudes (`data_cards/drawn.md`).
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.options import operation
from captioners.data.drawn_render import jpeg
from captioners.data.drawn_scene import SPLITS, WORLD_VERSION, Scene, scene
from captioners.data.drawn_voices import VOICES, captions
from captioners.data.source import Sample, Shard, SourceOptions, Unreadable, sources

SCENES = 1000
"""Scenes of a shard."""


def _split(name: str) -> str:
    if name not in SPLITS:
        raise ValueError(f"no split is named {name!r}.{near(name, SPLITS)} Known: {', '.join(SPLITS)}")
    return name


def _voice(name: str) -> str:
    if name not in VOICES:
        raise ValueError(f"no voice is named {name!r}.{near(name, VOICES)} Known: {', '.join(VOICES)}")
    return name


@sources.register("drawn")
class DrawnOptions(SourceOptions):
    """Scenes of the drawn world, made from a seed."""

    kind: Literal["drawn"] = "drawn"
    seed: int = Field(0, ge=0)
    """Seed of the scenes and of what is said of them."""
    split: Annotated[str, AfterValidator(_split)] = "caption"
    """pretrain, finetune, caption or eval; no content is in two of them, whatever the seeds."""
    count: int = operation(1000, ge=1)
    """Scenes; more of them continue the same sequence."""
    voice: Annotated[str, AfterValidator(_voice)] = "alt_text"
    """Who says the captions: alt_text, short, detailed, relational, count or paraphrased."""
    captions: int = Field(5, ge=1)
    """Captions of a scene, repeats included."""

    def own_card(self) -> str | None:
        """Return the drawn world's card."""
        return "drawn"

    def open(self) -> "DrawnSource":
        """Return the source."""
        return DrawnSource(self)


class DrawnSource:
    """Draws scenes; see `captioners.data.source.Source`."""

    def __init__(self, options: DrawnOptions) -> None:
        self._options = options

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return all shards: those frozen first and unchanged, then what `count` adds to them."""
        found: list[Shard] = []
        first = 0
        for old in frozen:
            same = self._shard(len(found), first, old.count or 0)
            if old != same:
                raise UserError(
                    f"{old.path} ({old.stamp}, from scene {old.where.get('first')}) is not what these options draw: "
                    f"{same.path} ({same.stamp}, from scene {first}); say the seed and the split that it was begun with"
                )
            found.append(same)
            first += same.count or 0
        if first > self._options.count:
            raise UserError(f"count: {self._options.count} is less than the {first} scenes that are frozen already")
        for start in range(first, self._options.count, SCENES):
            found.append(self._shard(len(found), start, min(SCENES, self._options.count - start)))
        return found

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its scene number `start`; every scene can be read."""
        for index in range(start, shard.count or 0):
            drawn = self._scene(shard.where["first"] + index)
            key = key_of(drawn.index)
            yield Sample(
                shard=shard.path,
                key=key,
                index=index,
                image=jpeg(drawn),
                captions=tuple(captions(drawn, self._options.voice, self._options.captions, self._options.seed)),
                meta={"world": WORLD_VERSION, "scene": drawn.to_json()},
                name=f"{shard.path}: {key}",
            )

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:  # noqa: ARG002
        """Return one picture, drawn again from its key."""
        first = shard.where["first"]
        index = int(key) if key.isascii() and key.isdecimal() else -1
        if not first <= index < first + (shard.count or 0) or key != key_of(index):
            raise NotFoundError(f"{shard.path}: has no picture of the key {key!r}")
        return jpeg(self._scene(index))

    def _scene(self, index: int) -> Scene:
        return scene(self._options.seed, self._options.split, index)

    def _shard(self, number: int, first: int, count: int) -> Shard:
        path = f"drawn-{self._options.split}-{self._options.seed}#{number:05d}"
        # No file, so no bytes; its pictures' sizes are known when they are drawn.
        return Shard(path=path, size=0, stamp=f"world-{WORLD_VERSION}", count=count, where={"first": first})


def key_of(index: int) -> str:
    """Return the key of a scene: its index with eight digits, or more where it needs them.

    >>> key_of(42)
    '00000042'
    """
    return f"{index:08d}"
