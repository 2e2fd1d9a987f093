"""Intervals that say how far a number would move with other images of the same sort: the bootstrap over images.

Images are resampled, not captions: the captions of one image are not independent. Counter-based randomness (Philox) of
a given seed alone, so the same numbers give the same interval everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captioners.core.errors import UserError

RESAMPLES = 1000
_AT_ONCE = 1 << 22
"""Index entries held at a time: 32 MB."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A number and the ends of its 95 % interval, both inclusive."""

    value: float
    low: float
    high: float
    count: int
    """Images it rests on."""

    def touches(self, other: "Interval") -> bool:
        """Whether the two intervals share a point; True if either is undefined, so that "apart" is always a finding."""
        if any(isnan(end) for end in (self.low, self.high, other.low, other.high)):
            return True
        return self.low <= other.high and other.low <= self.high


def mean(values: Sequence[float] | Numbers, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Return the mean of one number per image; nan ("undefined for this image") is left out and not counted."""
    array = np.asarray(values, dtype=np.float64)
    defined = array[~np.isnan(array)]
    return ratio(defined, np.ones_like(defined), seed=seed, resamples=resamples)


def ratio(parts: ArrayLike, wholes: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Return sum(parts) / sum(wholes), one pair per image, such as true claims and claims.

    Without images or without a whole, value and ends are nan. One image alone has no interval: its ends are nan.
    """
    above, below = _pairs(parts, wholes)
    if not below.sum():
        return Interval(nan, nan, nan, len(above))
    found = _resampled([(above, below)], seed, resamples)[0]
    return _interval(float(above.sum() / below.sum()), found, len(above))


def paired_difference(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return ratio(first) - ratio(second) for two captioners on the *same* images in the same order.

    Both are resampled with the same images, so what is easy for both cancels out.

    Raises:
        UserError: they have different numbers of images.
    """
    a, b = _pairs(*first), _pairs(*second)
    if len(a[0]) != len(b[0]):
        raise UserError(f"a paired difference needs the same images on both sides, not {len(a[0])} and {len(b[0])}")
    if not a[1].sum() or not b[1].sum():
        return Interval(nan, nan, nan, len(a[0]))
    one, other = _resampled([a, b], seed, resamples)
    value = float(a[0].sum() / a[1].sum() - b[0].sum() / b[1].sum())
    return _interval(value, one - other, len(a[0]))


def _pairs(parts: ArrayLike, wholes: ArrayLike) -> tuple[Numbers, Numbers]:
    above, below = np.asarray(parts, dtype=np.float64), np.asarray(wholes, dtype=np.float64)
    if above.shape != below.shape or above.ndim != 1:
        raise UserError(f"one part and one whole per image are needed, not {above.shape} and {below.shape}")
    return above, below


def _resampled(sides: list[tuple[Numbers, Numbers]], seed: int, resamples: int) -> list[Numbers]:
    """Return each side's ratio in every resample, [resamples]; all sides see the same images."""
    count = len(sides[0][0])
    generator = np.random.Generator(np.random.Philox(key=seed))
    rows = max(1, _AT_ONCE // count)
    found: list[list[Numbers]] = [[] for _ in sides]
    for start in range(0, resamples, rows):
        chosen = generator.integers(0, count, size=(min(rows, resamples - start), count))
        for side, (above, below) in enumerate(sides):
            whole = below[chosen].sum(axis=1)
            # A resample may hold no whole at all (images without a claim); it says nothing and is left out.
            found[side].append(
                np.divide(above[chosen].sum(axis=1), whole, out=np.full_like(whole, nan), where=whole > 0)
            )
    return [np.concatenate(side) for side in found]


def _interval(value: float, found: Numbers, count: int) -> Interval:
    defined = found[~np.isnan(found)]
    if count < 2 or not len(defined):
        return Interval(value, nan, nan, count)
    low, high = np.quantile(defined, [0.025, 0.975])
    return Interval(value, float(low), float(high), count)
