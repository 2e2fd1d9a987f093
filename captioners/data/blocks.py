"""Blocks of a streaming run: a few shards read together as files, permuted, and decoded as they are shown.

What stands in slot p of a block is a function of the block's samples and of the seed alone. Its readable samples have
an order; slot p shows number p of it (counted round), and if that picture cannot be decoded, the next that can. So what
is unreadable moves nothing: a block keeps as many slots as its samples were counted, and others of it stand in.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import ImageError
from captioners.core.seeds import permutation, uniforms
from captioners.data.choices import Captions
from captioners.data.order import check_captions
from captioners.data.skipped import Skipped
from captioners.data.source import Sample, Shard, Source, Unreadable
from captioners.images.augment import Augmentation, View
from captioners.images.pool import DecodePool, Result
from captioners.images.preprocess import chw
from captioners.text.tokenizer import Tokenizer
from captioners.text.truncate import Truncation, caption_ids


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a recipe says of which captions and pictures are shown."""

    seed: int = 0
    captions: Captions = "random_per_image"
    captions_per_step: int = 1
    truncation: Truncation = "token"
    augmentation: Augmentation = "none"

    def __post_init__(self) -> None:
        check_captions(self.captions, self.captions_per_step)


@dataclass(frozen=True)
class Shown:
    """One sample as a model is shown it."""

    key: str
    """What messages call it."""
    pixels: NDArray[np.uint8]
    """[3, H, W]."""
    captions: list[NDArray[np.int32]]
    """At least one: start, content cut to the context, end."""


@dataclass(frozen=True)
class _Item:
    """An image, or with `per_caption` one caption of it."""

    sample: Sample
    caption: int | None = None

    @property
    def name(self) -> str:
        return self.sample.name or f"{self.sample.shard}: {self.sample.key}"


@dataclass(frozen=True)
class Block:
    """What a source could hand out of a few shards, as files."""

    items: list[_Item]
    failed: set[tuple[str, int]] = field(default_factory=set)
    """Shard and index of samples that turned out not to be decodable; only so that each is counted once."""


class BlockReader:
    """Reads blocks and shows their slots.

    Args:
        source: hands out samples.
        pool: decodes, in a process or in several, and fits pictures to the captioner's size.
        tokenizer: of the captioner.
        context_length: token slots with start and end.
        choices: which captions and views.
        skipped: told of what cannot be shown.
    """

    def __init__(
        self,
        source: Source,
        pool: DecodePool,
        tokenizer: Tokenizer,
        context_length: int,
        choices: Choices,
        skipped: Skipped,
    ) -> None:
        self._source, self._pool, self._choices, self._skipped = source, pool, choices, skipped
        self._tokenizer, self._context_length = tokenizer, context_length

    def read(self, shards: Iterable[Shard]) -> Block:
        """Read shards whole.

        Raises:
            NeedsLookError: too many samples could not be read.
        """
        items: list[_Item] = []
        for shard in shards:
            for found in self._source.samples(shard):
                self._skipped.met()
                if isinstance(found, Unreadable):
                    self._skipped.add(found.shard, found.key, found.reason, found.error)
                elif not found.captions:
                    self._skip(_Item(found), "no_caption", "no caption with text in it; give it one, or leave it out")
                elif self._choices.captions == "per_caption":
                    items += [_Item(found, caption) for caption in range(len(found.captions))]
                else:
                    items.append(_Item(found))
        return Block(items)

    def show(self, block: Block, slots: range, epoch: int, name: Sequence[int | str]) -> Iterator[Shown]:
        """Yield what stands in some slots of a block, each once; nothing at all if the block has nothing to show.

        `name` is that of the block's order.
        """
        if not block.items:
            return
        order = permutation(len(block.items), "block", self._choices.seed, *name)

        def from_slot(slots: range) -> Iterator[Shown | None]:
            return self._decoded(block, (int(order[slot % len(order)]) for slot in slots), epoch)

        waiting = 0
        for shown in from_slot(slots):
            waiting += 1
            if shown is not None:
                yield from (shown for _ in range(waiting))
                waiting = 0
        if waiting:
            stand_in = next((s for s in from_slot(range(slots.stop, slots.stop + len(order))) if s is not None), None)
            if stand_in is not None:
                yield from (stand_in for _ in range(waiting))

    def _decoded(self, block: Block, numbers: Iterable[int], epoch: int) -> Iterator[Shown | None]:
        """Yield items as they are shown, or None for what cannot be."""
        for item, picture in self._pool.map(
            (block.items[number] for number in numbers),
            lambda item: item.sample.image,
            lambda item: item.name,
            lambda item: self._view(item, epoch),
        ):
            yield self._shown(block, item, picture, epoch)

    def _view(self, item: _Item, epoch: int) -> View | None:
        augmentation, caption = self._choices.augmentation, () if item.caption is None else (item.caption,)
        return View.of(augmentation, self._choices.seed, epoch, item.name, *caption)

    def _shown(self, block: Block, item: _Item, picture: Result, epoch: int) -> Shown | None:
        captions = [] if isinstance(picture, ImageError) else self._captions(item, epoch)
        if not isinstance(picture, ImageError) and captions:
            return Shown(item.name, chw(picture.image), captions)
        place = (item.sample.shard, item.sample.index)
        if place not in block.failed:
            block.failed.add(place)
            if isinstance(picture, ImageError):
                self._skipped.add(item.sample.shard, item.sample.key, picture.reason, str(picture))
            else:
                self._skip(item, "no_caption", "no caption that the tokenizer finds text in; give it another")
        return None

    def _captions(self, item: _Item, epoch: int) -> list[NDArray[np.int32]]:
        """Return the captions drawn, as ids; one without a token gives way to another of the image."""
        rows = (
            caption_ids(item.sample.captions[choice], self._tokenizer, self._context_length, self._choices.truncation)[
                0
            ]
            for choice in self._drawn(item, epoch)
        )
        return list(islice((row for row in rows if row is not None), self._choices.captions_per_step))

    def _drawn(self, item: _Item, epoch: int) -> NDArray[np.int64]:
        """Return all captions that the item may be shown with, those to be taken first."""
        if item.caption is not None:
            return np.array([item.caption])
        count = len(item.sample.captions)
        if self._choices.captions == "first" or count == 1:
            return np.arange(count)
        return np.argsort(uniforms(count, "captions", self._choices.seed, epoch, item.name), kind="stable")

    def _skip(self, item: _Item, reason: str, error: str) -> None:
        self._skipped.add(item.sample.shard, item.sample.key, reason, f"{item.name}: {error}")
