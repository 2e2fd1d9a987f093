"""What a run reads: batches for the steps, images held out, and the numbers that the run is known by."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from captioners.data.batches import Batches, MemoryBatches
from captioners.data.training_set import TrainingSet
from captioners.images.fit import Fit
from captioners.images.pool import DecodePool
from captioners.jobs.train.start import Recipe

_DECODERS = 4


@dataclass(frozen=True)
class HeldOut:
    """Images that are not trained on, in an order of their own (by hash), so that the first of them are any."""

    keys: Sequence[str] = ()
    pixels: Sequence[NDArray[np.uint8]] = ()
    """[3, H, W] each, resized as the model sees them."""
    captions: Sequence[tuple[str, ...]] = ()
    """What people wrote of each."""

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.keys)

    def first(self, count: int) -> "HeldOut":
        """Return at most `count` of them."""
        return HeldOut(self.keys[:count], self.pixels[:count], self.captions[:count])

    def image(self, number: int) -> Image.Image:
        """Return a picture, RGB, of the model's input size."""
        return Image.fromarray(np.ascontiguousarray(self.pixels[number].transpose(1, 2, 0)))


OpenBatches = Callable[[int, int], AbstractContextManager[Batches]]
"""From (rank, world) to that process's share of all batches."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a run reads."""

    batches: OpenBatches
    images: int
    captions: int
    samples: int
    """Of an epoch: images, or captions with `per_caption`."""
    digest: str
    """Whether a run goes on with what it began with."""
    cut: int = 0
    """Captions longer than the context."""
    skipped: list[dict[str, str]] = field(default_factory=list)
    pixels_of: Callable[[int, int], Tensor] | None = None
    """From the first and past the last number of some images to their pixels, uint8 [B, 3, H, W], the same in every
    epoch; None where pictures vary, or are read as the run goes on."""
    val: HeldOut = field(default_factory=HeldOut)
    test: HeldOut = field(default_factory=HeldOut)


def steps_of(recipe: Recipe, data: Data) -> int:
    """Return the steps of the run: those of the recipe, or of its epochs."""
    if recipe.steps is not None:
        return recipe.steps
    assert recipe.epochs is not None
    return max(1, ceil(recipe.epochs * data.samples / recipe.batch_size))


def held_data(
    recipe: Recipe, held: TrainingSet, fit: Fit, val: HeldOut | None = None, test: HeldOut | None = None
) -> Data:
    """Return the data of a set in memory."""

    def opened(rank: int, world: int) -> AbstractContextManager[Batches]:
        pool = DecodePool(_DECODERS, profile=recipe.decode_profile, fit=fit) if held.files else None
        batches = MemoryBatches(
            held,
            recipe.batch_size,
            recipe.seed,
            recipe.captions,
            captions_per_step=recipe.captions_per_step,
            rank=rank,
            world=world,
            length_grouped=recipe.length_grouped,
            augmentation=recipe.augmentation,
            pool=pool,
        )
        return _WithPool(batches, pool) if pool else nullcontext(batches)

    return Data(
        batches=opened,
        images=len(held.keys),
        captions=held.num_captions,
        samples=held.num_captions if recipe.captions == "per_caption" else len(held.keys),
        digest=held.digest,
        cut=held.cut,
        skipped=held.skipped,
        pixels_of=None if held.files else lambda first, end: torch.from_numpy(np.stack(held.pixels[first:end])),
        val=val or HeldOut(),
        test=test or HeldOut(),
    )


class _WithPool(AbstractContextManager[Batches]):
    """Batches whose pictures a pool decodes; both end together."""

    def __init__(self, batches: Batches, pool: DecodePool) -> None:
        self._batches, self._pool = batches, pool

    def __enter__(self) -> Batches:
        return self._batches

    def __exit__(self, *_: object) -> None:
        self._pool.close()
