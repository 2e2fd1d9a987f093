"""Which sample comes when: orders, drawn captions and mixtures as functions of a position, with no state to save."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import UserError
from captioners.core.seeds import permutation, uniforms
from captioners.data.choices import Captions

_WINDOW = 50
"""Batches that are sorted together when captions are grouped by length."""


@dataclass(frozen=True)
class Pick:
    """One sample of a run: an image, and which of its captions."""

    image: int
    captions: tuple[int, ...]
    epoch: int


class Order:
    """The endless stream of a set in memory: every epoch in an order of its own, epochs end to end, nothing left over.

    Args:
        lengths: of each image, the length of each of its captions; at least one.
        seed: of orders and drawn captions.
        captions: which of several captions.
        captions_per_step: captions of an image in a sample, at most; they are drawn without replacement.
        grouped: samples of a batch whose captions are to be of like length, or 0 for a plain order.
        name: sets the draws of several orders apart.
    """

    def __init__(
        self,
        lengths: Sequence[Sequence[int]],
        *,
        seed: int,
        captions: Captions = "random_per_image",
        captions_per_step: int = 1,
        grouped: int = 0,
        name: tuple[int | str, ...] = (),
    ) -> None:
        check_captions(captions, captions_per_step)
        self._seed, self._captions, self._most, self._grouped = seed, captions, captions_per_step, grouped
        self._name = name
        self._lengths = np.concatenate([np.asarray(several, dtype=np.int64) for several in lengths])
        self._counts = np.array([len(several) for several in lengths])
        self._starts = np.cumsum(self._counts) - self._counts
        self._image = np.repeat(np.arange(len(lengths)), self._counts)
        self._within: NDArray[np.int64] = np.arange(len(self._image)) - self._starts[self._image]
        self._epochs: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        """Return the samples of an epoch: images, or captions with `per_caption`."""
        return len(self._image) if self._captions == "per_caption" else len(self._counts)

    def at(self, number: int) -> Pick:
        """Return the run's sample `number`, from 0."""
        epoch, place = divmod(number, len(self))
        order, drawn = self._epoch(epoch)
        item = int(order[place])
        if self._captions == "per_caption":
            return Pick(int(self._image[item]), (int(self._within[item]),), epoch)
        start, count = self._starts[item], min(self._most, self._counts[item])
        return Pick(item, tuple(drawn[start : start + count].tolist()), epoch)

    def _epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the order of an epoch's samples, and each image's captions with those to be taken first."""
        if epoch not in self._epochs:
            drawn = self._drawn(epoch)
            order = permutation(len(self), "order", self._seed, epoch, *self._name)
            if self._grouped:
                order = self._by_length(order, drawn, epoch)
            # A batch across the seam of two epochs needs both; older ones are not asked for again.
            self._epochs = {number: kept for number, kept in self._epochs.items() if abs(number - epoch) == 1}
            self._epochs[epoch] = order, drawn
        return self._epochs[epoch]

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        drawn: NDArray[np.int64] = self._within.copy()
        if self._captions != "random_per_image":
            return drawn
        if self._most == 1:
            one = uniforms(len(self), "caption", self._seed, epoch, *self._name)
            drawn[self._starts] = (one * self._counts).astype(np.int64)
            return drawn
        keys = uniforms(len(drawn), "captions", self._seed, epoch, *self._name)
        shuffled: NDArray[np.int64] = drawn[np.lexsort((keys, self._image))]
        return shuffled

    def _by_length(self, order: NDArray[np.int64], drawn: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Sort windows of many batches by length, cut them into batches, and permute these.

        Batches are cut where the run cuts them, whose epochs follow end to end.
        """
        if self._captions == "per_caption":
            lengths = self._lengths
        else:
            taken = np.where(self._within < self._most, self._lengths[self._starts[self._image] + drawn], 0)
            lengths = np.maximum.reduceat(taken, self._starts)
        size = self._grouped
        head = -epoch * len(self) % size
        cut = [order[:head]]
        for number, start in enumerate(range(head, len(order), size * _WINDOW)):
            window = order[start : start + size * _WINDOW]
            whole = len(window) // size * size
            ranks = np.argsort(lengths[window[:whole]], kind="stable")
            batches = window[:whole][ranks].reshape(-1, size)
            mixed = batches[permutation(len(batches), "groups", self._seed, epoch, number, *self._name)]
            cut += [mixed.reshape(-1), window[whole:]]
        return np.concatenate(cut)


class Mixing:
    """Which part of a mixture each sample comes from.

    Samples come in cycles of as many as the weights sum up to (their common divisor taken out). Each cycle holds
    exactly its weight of every part, in an order drawn for the cycle. Within a part, samples follow one another
    through that part's own endless epochs.
    """

    def __init__(self, weights: Sequence[int], *name: int | str) -> None:
        divisor = gcd(*weights)
        self._weights = [weight // divisor for weight in weights]
        self._slots = np.repeat(np.arange(len(weights)), self._weights)
        self._name = name
        self._cycle: tuple[int, NDArray[np.int64]] | None = None

    def at(self, number: int) -> tuple[int, int]:
        """Return (part, number within the part) of sample `number`, both from 0."""
        if len(self._weights) == 1:
            return 0, number
        cycle, place = divmod(number, len(self._slots))
        if self._cycle is None or self._cycle[0] != cycle:
            self._cycle = cycle, self._slots[permutation(len(self._slots), "mixture", *self._name, cycle)]
        parts = self._cycle[1]
        part = int(parts[place])
        return part, cycle * self._weights[part] + int((parts[:place] == part).sum())


def check_captions(captions: Captions, captions_per_step: int) -> None:
    """Raise UserError if the two do not go together."""
    if captions_per_step > 1 and captions == "per_caption":
        raise UserError(
            f"captions: per_caption makes a sample of each caption, which leaves none for captions_per_step: "
            f"{captions_per_step}; take captions: random_per_image"
        )


def share_of(batch_size: int, rank: int, world: int) -> range:
    """Return the places in a global batch that a rank takes: a slice, so that all ranks' slices are the batch in order.

    Raises:
        UserError: the batch size is no multiple of the number of processes.
    """
    if batch_size % world:
        raise UserError(
            f"batch_size: {batch_size} cannot be split evenly over {world} processes; take a multiple of {world}"
        )
    share = batch_size // world
    return range(rank * share, (rank + 1) * share)
