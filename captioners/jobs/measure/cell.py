"""From what was measured of each image to the cells of a row: the number, and its interval by a bootstrap over images.

All metrics of a row are resampled with the same images, in the order of their ids, so that no other order matters. Of a
large set, the interval rests on the 20,000 images with the lowest ids, and is made as much narrower as all images are
more than those.
"""

from collections.abc import Mapping, Sequence
from math import isnan, nan, sqrt

import numpy as np

from captioners.jobs.measure.gauge import Numbers, Shown
from captioners.metrics.intervals import RESAMPLES, Interval

RESERVOIR = 20_000
_AT_ONCE = 1 << 22
"""Numbers held at a time: 32 MB."""
_UNIT = 2.0**30
"""Resampled are whole multiples of 1 / this, whose sums are exact, in whatever order a library adds them."""


def intervals(
    shown: Sequence[Shown],
    columns: Mapping[str, Numbers],
    ids: "np.ndarray[tuple[int], np.dtype[np.uint64]]",
    seed: int,
) -> dict[str, Interval]:
    """Return the interval of each metric, by its name.

    Args:
        shown: metrics of these columns. columns: float64 [B] each; nan where an image has no number. ids: uint64 [B].
    """
    if not shown:
        return {}
    lowest = np.argsort(ids, kind="stable")[:RESERVOIR]
    matrices = [one.matrix(columns) for one in shown]
    some = [_defined(matrix[lowest]) for matrix in matrices]
    resampled = _resampled(np.hstack(some), seed)
    found, at = {}, 0
    for one, matrix, part in zip(shown, matrices, some, strict=True):
        sums = resampled[:, at : at + matrix.shape[1]]
        at += matrix.shape[1]
        known = int((~np.isnan(matrix).any(axis=1)).sum())
        value = float(one.numbers(_defined(matrix).sum(axis=0)))
        kept = min(known, int((~np.isnan(matrix[lowest]).any(axis=1)).sum()))
        found[one.metric.name] = _interval(value, float(one.numbers(part.sum(axis=0))), one.numbers(sums), known, kept)
    return found


def _defined(matrix: Numbers) -> Numbers:
    """Return a matrix with zeros in the rows of images without a number: they add nothing to any sum."""
    return np.where(np.isnan(matrix).any(axis=1, keepdims=True), 0.0, matrix)


def _resampled(matrix: Numbers, seed: int) -> Numbers:
    """Return the sums of every resample of the images, [B, F] -> [resamples, F]; draws as in `metrics.intervals`."""
    count = len(matrix)
    if not count:
        return np.zeros((0, matrix.shape[1]))
    whole = np.rint(matrix * _UNIT)
    generator = np.random.Generator(np.random.Philox(key=seed))
    rows = max(1, _AT_ONCE // count)
    found = []
    for start in range(0, RESAMPLES, rows):
        chosen = generator.integers(0, count, size=(min(rows, RESAMPLES - start), count))
        times = np.stack([np.bincount(row, minlength=count) for row in chosen])
        found.append(times.astype(np.float64) @ whole / _UNIT)
    return np.concatenate(found)


def _interval(value: float, of_some: float, found: Numbers, count: int, kept: int) -> Interval:
    defined = found[~np.isnan(found)]
    if isnan(value) or count < 2 or not len(defined):
        return Interval(value, nan, nan, count)
    low, high = np.quantile(defined, [0.025, 0.975])
    if kept == count:
        return Interval(value, float(low), float(high), count)
    narrower = sqrt(kept / count)
    return Interval(value, value + (low - of_some) * narrower, value + (high - of_some) * narrower, count)
