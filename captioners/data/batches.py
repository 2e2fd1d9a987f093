"""Training batches as a function of position: (seed, epoch, number) says which sample, whatever came before.

So a stopped run continues by counting, and no shuffle buffer or generator has a state to save. `MemoryBatches` serves a
set that is held in memory; `training.stream` reads what does not fit as it goes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioners.core.errors import ImageError, UserError
from captioners.data.choices import Captions
from captioners.data.order import Mixing, Order, Pick, share_of
from captioners.data.training_set import TrainingSet
from captioners.images.augment import Augmentation, View
from captioners.images.pool import DecodePool
from captioners.images.preprocess import chw


@dataclass(frozen=True)
class Batch:
    """Samples of one step, or one rank's share of them: B images with R captions."""

    keys: tuple[str, ...]
    """What messages call the images."""
    pixels: Tensor
    """uint8 [B, 3, H, W]."""
    text: Tensor
    """int64 [R, longest of the batch]: start, content, end, then 0."""
    owner: Tensor | None = None
    """int64 [R], never falling: the image that each caption is of; None where R = B and each has its own."""
    images: Tensor | None = None
    """int64 [B]: the images' numbers in the set; None when streaming."""


class Batches(Protocol):
    """What a training loop reads: batch number `step` of a run, from 0, without end."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step; asking in another order, or twice, changes nothing."""


class MemoryBatches:
    """Batches of a set in memory, or one rank's share of them; the batches are the same for any number of ranks.

    Args:
        held: the set.
        batch_size: images of a step, over all ranks.
        seed: of orders and draws.
        captions: which of several captions of an image.
        captions_per_step: captions of an image in one step, at most.
        rank, world: which process of how many.
        length_grouped: whether the captions of a step are of like length.
        augmentation: of pictures that are held as files.
        pool: decodes those.
    """

    def __init__(  # noqa: PLR0913  # what a recipe says of batches, and which process this is
        self,
        held: TrainingSet,
        batch_size: int,
        seed: int,
        captions: Captions = "random_per_image",
        *,
        captions_per_step: int = 1,
        rank: int = 0,
        world: int = 1,
        length_grouped: bool = False,
        augmentation: Augmentation = "none",
        pool: DecodePool | None = None,
    ) -> None:
        weights = held.weights
        if length_grouped and len(weights) > 1:
            raise UserError("length_grouped: the parts of a mixture follow their weights, not lengths; leave it out")
        self._held, self._seed, self.batch_size = held, seed, batch_size
        self._each_caption = captions == "per_caption"
        self._share, self._augmentation, self._pool = share_of(batch_size, rank, world), augmentation, pool
        parts = np.array(held.parts or [0] * len(held.keys))
        self._members = [np.flatnonzero(parts == part) for part in range(len(weights))]
        for part, members in enumerate(self._members):
            if not len(members):
                raise UserError(
                    f"part {part + 1} of the mixture holds no picture with a caption; take it out, or mend it"
                )
        self._orders = [
            Order(
                [list(map(len, held.captions[image])) for image in members],
                seed=seed,
                captions=captions,
                captions_per_step=captions_per_step,
                grouped=batch_size if length_grouped else 0,
                name=(f"part {part}",) if len(weights) > 1 else (),
            )
            for part, members in enumerate(self._members)
        ]
        self._mixing = Mixing(weights, seed)

    def __len__(self) -> int:
        """Return the samples of an epoch: images, or captions with `per_caption`; of a mixture, those of all parts."""
        return sum(map(len, self._orders))

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, from 0."""
        picks = [self._pick(step * self.batch_size + place) for place in self._share]
        return collate(
            [self._held.keys[pick.image] for pick in picks],
            list(self._pixels(picks)),
            [[self._held.captions[pick.image][choice] for choice in pick.captions] for pick in picks],
            [pick.image for pick in picks],
        )

    def _pick(self, number: int) -> Pick:
        part, within = self._mixing.at(number)
        pick = self._orders[part].at(within)
        return replace(pick, image=int(self._members[part][pick.image]))

    def _pixels(self, picks: Sequence[Pick]) -> Iterator[NDArray[np.uint8]]:
        held = self._held
        if not held.files:
            yield from (held.pixels[pick.image] for pick in picks)
            return
        assert self._pool is not None, "pictures held as files need a pool that decodes them"
        for _, picture in self._pool.map(
            picks,
            lambda pick: held.files[pick.image],
            lambda pick: held.keys[pick.image],
            self._view,
        ):
            if isinstance(picture, ImageError):
                raise picture
            yield chw(picture.image)

    def _view(self, pick: Pick) -> View | None:
        # An image that comes once for each caption is another view each time.
        caption = pick.captions if self._each_caption else ()
        return View.of(self._augmentation, self._seed, pick.epoch, self._held.keys[pick.image], *caption)


def collate(
    keys: Sequence[str],
    pixels: Sequence[NDArray[np.uint8]],
    captions: Sequence[Sequence[NDArray[np.int32]]],
    images: Sequence[int] | None = None,
) -> Batch:
    """Return the batch of images and, of each, its captions."""
    rows = [ids for several in captions for ids in several]
    text = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, ids in zip(text, rows, strict=True):
        row[: len(ids)] = ids
    owner = np.repeat(np.arange(len(captions)), [len(several) for several in captions])
    return Batch(
        tuple(keys),
        torch.from_numpy(np.stack(pixels)),
        torch.from_numpy(text),
        torch.from_numpy(owner),
        None if images is None else torch.tensor(images),
    )
