"""Captions against references, a batch of images at a time: CIDEr-D, BLEU's counts and ROUGE-L.

Each image has m captions and any number of references. Nothing of an image depends on the others of its batch: what
pads it adds zeros, at the end, to sums that are taken one by one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import UserError
from captioners.metrics.frequencies import LONGEST, HashedFrequencies
from captioners.metrics.hashed import Batch, Grams, Numbers, Whole, pooled

SIGMA = 6.0
"""Of the Gaussian by which CIDEr-D punishes another length."""
BETA = 1.2
"""How much more recall counts than precision in ROUGE-L."""
_PAIRS = 1 << 13
"""Pairs of a caption and a reference whose common subsequences are found together."""


class Against:
    """m captions of each of B images, held against any number of references of each.

    Raises:
        UserError: not the references of each image.
    """

    def __init__(self, batch: Batch, references: Sequence[Sequence[str]]) -> None:
        if len(references) != batch.images:
            raise UserError(
                f"one caption for each image's references: {batch.images} captions, {len(references)} images"
            )
        self._batch = batch
        self._counts = np.array([len(texts) for texts in references], dtype=np.int64)
        most = int(self._counts.max(initial=0))
        self._padded = Batch.of([[*texts, *[""] * (most - len(texts))] for texts in references])
        self._real = np.arange(most) < self._counts[:, None]
        self._both = pooled([batch, self._padded])

    def cider_d(self, df: HashedFrequencies) -> Numbers:
        """Return CIDEr-D, [B, m]; nan where an image has no references, or the table is of fewer than two images."""
        if df.images < 2:
            return np.full(self._batch.lengths.shape, np.nan)
        like, total = likeness(self._both, self._batch.m, df), np.zeros(self._batch.lengths.shape)
        for place in range(self._padded.m):
            total += like[..., place]
        return self._defined(10 * total / LONGEST / np.maximum(1, self._counts)[:, None])

    def rouge_l(self) -> Numbers:
        """Return ROUGE-L, [B, m]; nan where an image has no references."""
        if not self._padded.m:
            return self._defined(np.zeros(self._batch.lengths.shape))
        common = self._common()
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.nan_to_num(common.max(axis=-1) / self._batch.lengths)
            recall = np.nan_to_num(common / self._padded.lengths[:, None, :]).max(axis=-1)
            score = np.nan_to_num((1 + BETA**2) * precision * recall / (recall + BETA**2 * precision))
        return self._defined(score)

    def bleu_counts(self) -> Whole:
        """Return what BLEU sums, columns as in `references.bleu_counts`, [B, m, 10]; 0 without references."""
        m = self._batch.m
        found = np.zeros((*self._batch.lengths.shape, 2 * LONGEST + 2), dtype=np.int64)
        if not self._padded.m:
            return found
        for n in range(1, LONGEST + 1):
            found[..., n - 1] = _clipped(self._both, n, m)
            found[..., LONGEST + n - 1] = np.maximum(self._batch.lengths - n + 1, 0)
        found[..., -2] = self._batch.lengths
        lengths = self._padded.lengths[:, None, :]
        # Distance first, then the shorter: one number that orders as the pair does.
        key = np.abs(self._batch.lengths[:, :, None] - lengths) * (int(lengths.max()) + 1) + lengths
        chosen = np.where(self._real[:, None, :], key, np.iinfo(np.int64).max).argmin(axis=2)
        found[..., -1] = np.take_along_axis(self._padded.lengths, chosen, axis=1)
        found[self._counts == 0] = 0
        return found

    def _common(self) -> Whole:
        """Return the length of the longest common subsequence of each caption and reference, [B, m, r]."""
        shape = (self._batch.images, self._batch.m, self._padded.m)
        image, caption, reference = (axis.ravel() for axis in np.indices(shape))
        asked = np.flatnonzero(np.broadcast_to(self._real[:, None, :], shape).ravel())
        ones, others = (image * self._batch.m + caption)[asked], (image * self._padded.m + reference)[asked]
        found = np.zeros(image.size, dtype=np.int64)
        found[asked] = _common(self._batch, self._padded, ones, others)
        return found.reshape(shape)

    def _defined(self, scores: Numbers) -> Numbers:
        scores[self._counts == 0] = np.nan
        return scores


def likeness(both: Batch, m: int, df: HashedFrequencies) -> Numbers:
    """Return what CIDEr-D sums over references, of each of an image's first m captions and each of its rest, [B, m, r].

    Four times a tenth of CIDEr-D with this one reference.
    """
    images, r = both.images, both.m - m
    found = np.zeros((images, m, r))
    for n in range(1, LONGEST + 1):
        grams = both.grams(n)
        values = grams.times * df.weights(grams.hashes)
        squares = np.bincount(grams.captions, weights=values * values, minlength=images * both.m)
        norms = np.sqrt(squares).reshape(images, both.m)
        both_norms = norms[:, :m, None] * norms[:, None, m:]
        products = _clipped_products(grams, values, images, m, r)
        found += np.divide(products, both_norms, out=np.zeros_like(products), where=both_norms > 0)
    bigrams = np.maximum(both.lengths - 1, 0)
    apart = bigrams[:, :m, None] - bigrams[:, None, m:]
    return np.asarray(found * np.exp(-(apart**2) / (2 * SIGMA**2)), dtype=np.float64)


def _clipped_products(grams: Grams, values: Numbers, images: int, m: int, r: int) -> Numbers:
    """Return sums over n-grams of min(caption, reference) * reference, [B, m, r]."""
    image, k = np.divmod(grams.captions, m + r)
    total = np.zeros(images * m * r)
    for apart in range(1, m + r):
        first = np.flatnonzero(grams.groups[:-apart] == grams.groups[apart:])
        if not len(first):
            break
        first = first[(k[first] < m) & (k[first + apart] >= m)]
        other = first + apart
        cell = (image[first] * m + k[first]) * r + k[other] - m
        clipped = np.minimum(values[first], values[other]) * values[other]
        total += np.bincount(cell, weights=clipped, minlength=len(total))
    return total.reshape(images, m, r)


def _clipped(both: Batch, n: int, m: int) -> Whole:
    """Return each caption's n-grams, counted no more often than the reference that has most of them, [B, m]."""
    grams = both.grams(n)
    if not len(grams.hashes):
        return np.zeros((both.images, m), dtype=np.int64)
    of_reference = grams.captions % both.m >= m
    most = np.maximum.reduceat(np.where(of_reference, grams.times, 0), grams.starts)[grams.groups]
    right = np.where(of_reference, 0, np.minimum(grams.times, most))
    sums = np.bincount(grams.captions, weights=right, minlength=both.lengths.size)
    return np.asarray(sums.reshape(both.lengths.shape)[:, :m], dtype=np.int64)


def _common(batch: Batch, other: Batch, ones: Whole, others: Whole) -> Whole:
    """Return the lengths of the longest common subsequences of pairs of captions, by their places, [P], [P] -> [P]."""
    _, numbers = np.unique(np.concatenate([batch.words, other.words]), return_inverse=True)
    mine = _Rows(numbers[: len(batch.words)].astype(np.int32), batch.lengths.ravel())
    theirs = _Rows(numbers[len(batch.words) :].astype(np.int32), other.lengths.ravel())
    found = np.zeros(len(ones), dtype=np.int64)
    # Pairs of like length together, so that little is padded.
    order = np.lexsort((theirs.lengths[others], mine.lengths[ones]))
    for start in range(0, len(order), _PAIRS):
        pairs = order[start : start + _PAIRS]
        one, two = mine.padded(ones[pairs], -1), theirs.padded(others[pairs], -2)
        row = np.zeros((len(pairs), two.shape[1] + 1), dtype=np.int32)
        for place in range(one.shape[1]):
            longer = row[:, :-1] + (two == one[:, place, None])
            np.maximum(row[:, 1:], longer, out=row[:, 1:])
            np.maximum.accumulate(row, axis=1, out=row)
        found[pairs] = row[:, -1]
    return found


class _Rows:
    """Captions as rows of numbers."""

    def __init__(self, numbers: NDArray[np.int32], lengths: Whole) -> None:
        self.lengths = lengths
        self._numbers = np.append(numbers, np.int32(0))  # so that an empty caption at the end has a place
        self._starts = np.cumsum(lengths) - lengths

    def padded(self, chosen: Whole, filler: int) -> NDArray[np.int32]:
        """Return some captions as rows of one length."""
        lengths = self.lengths[chosen, None]
        places = np.arange(int(lengths.max(initial=0)))
        at = np.where(places < lengths, self._starts[chosen, None] + places, 0)
        return np.where(places < lengths, self._numbers[at], np.int32(filler))
