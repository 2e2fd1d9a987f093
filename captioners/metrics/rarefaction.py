"""Fewer captions of each image than there are: what a metric would be at m of M captions, so that sets compare.

Diversity changes with m. The mean over all choices of m captions is the fair value at m; some metrics have it in
closed form, the rest average over every choice, or over a few that depend on nothing but the image's own captions.
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from math import comb
from types import MappingProxyType

import numpy as np

from captioners.metrics.diversity import LENGTH, UNIQUE, mean_length
from captioners.metrics.hashed import Batch, Hashes, Numbers, Whole, mixed
from captioners.metrics.metric import Metric

SUBSETS = 20
"""Choices that are averaged over; all, where there are no more."""


def subsets(batch: Batch, m: int, most: int = SUBSETS) -> list[Whole]:
    """Return choices of m of each image's captions, by their places in order, each [B, m].

    All of them where they are `most` or fewer; else `most` drawn by the image's own captions, for each image anew.
    """
    if comb(batch.m, m) <= most:
        return [np.tile(chosen, (batch.images, 1)) for chosen in combinations(range(batch.m), m)]
    # Of the captions as a set, so that their order is no part of the draw's seed.
    seeds: Hashes = np.bitwise_xor.reduce(mixed(batch.caption_hashes), axis=1)
    found = []
    for number in range(most):
        places = np.arange(number * batch.m, (number + 1) * batch.m, dtype=np.uint64)
        lots = mixed(mixed(seeds[:, None]) + places)
        found.append(np.sort(lots.argsort(axis=1)[:, :m], axis=1))
    return found


def unique_of_some(batch: Batch, m: int) -> Numbers:
    """Return the mean share of different captions over all choices of m, [B], exactly.

    A caption that stands there k times is missed by C(M - k, m) of the C(M, m) choices.
    """
    total = comb(batch.m, m)
    ordered = np.sort(batch.caption_hashes, axis=1)
    first = np.concatenate([np.ones((batch.images, 1), bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    starts = np.flatnonzero(first.ravel())
    times = np.diff(np.append(starts, ordered.size))
    missed = np.array([comb(batch.m - k, m) / total for k in range(batch.m + 1)])
    found = np.bincount(starts // batch.m, weights=1 - missed[times], minlength=batch.images)
    return np.asarray(found / m, dtype=np.float64)


EXACT: Mapping[Metric, Callable[[Batch, int], Numbers]] = MappingProxyType(
    {UNIQUE: unique_of_some, LENGTH: lambda batch, _: mean_length(batch)}
)
"""Metrics whose mean over all choices has a closed form."""
