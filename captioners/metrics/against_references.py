"""Captions against references a batch at a time: the numbers of `metrics.references`, for sets of millions.

Each image has m captions and any number of references. Nothing of an image depends on the others of its batch: what
pads it adds zeros, at the end, to sums that are taken one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import UserError
from captioners.metrics.frequencies import LONGEST, HashedFrequencies
from captioners.metrics.hashed import Batch, Grams, Numbers, Whole, pooled
from captioners.metrics.references import BETA, SIGMA

_PAIRS = 1 << 13
"""Pairs of a caption and a reference whose common subsequences are found together."""


@dataclass(frozen=True)
class AgainstReferences:
    """What a batch's captions score; nan, and counts of 0, where an image has no references."""

    cider_d: Numbers
    """[B, m]; nan everywhere where the table is of fewer than two images."""
    rouge_l: Numbers
    """[B, m]."""
    bleu_counts: Whole
    """Columns as in `references.bleu_counts`, int64 [B, m, 10]; sum them, then `references.bleu`."""


def against_references(batch: Batch, references: Sequence[Sequence[str]], df: HashedFrequencies) -> AgainstReferences:
    """Score the captions of B images by their references.

    Args:
        references: of each image, any number. df: the table of the references of the whole set.

    Raises:
        UserError: not the references of each image.
    """
    if len(references) != batch.images:
        raise UserError(f"references of each image are needed: {batch.images} images, references of {len(references)}")
    counts = np.array([len(texts) for texts in references], dtype=np.int64)
    most = int(counts.max(initial=0))
    if not most:
        nothing = np.full(batch.lengths.shape, np.nan)
        return AgainstReferences(nothing, nothing.copy(), np.zeros((*batch.lengths.shape, 2 * LONGEST + 2), np.int64))
    padded = Batch.of([[*texts, *[""] * (most - len(texts))] for texts in references])
    real = np.arange(most) < counts[:, None]
    both = pooled([batch, padded])
    cider = _cider_d(both, batch.m, df)
    total = np.zeros(batch.lengths.shape)
    for place in range(most):
        total += cider[..., place]
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = 10 * total / LONGEST / counts[:, None]
    if df.images < 2:
        scores = np.full_like(scores, np.nan)
    return AgainstReferences(scores, _rouge_l(batch, padded, real), _bleu_counts(both, batch, padded, real))


def _cider_d(both: Batch, m: int, df: HashedFrequencies) -> Numbers:
    """Return the likeness of each caption and reference of an image, summed over n, [B, m, r]."""
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


def _bleu_counts(both: Batch, batch: Batch, padded: Batch, real: NDArray[np.bool_]) -> Whole:
    m = batch.m
    found = np.zeros((*batch.lengths.shape, 2 * LONGEST + 2), dtype=np.int64)
    for n in range(1, LONGEST + 1):
        grams = both.grams(n)
        if len(grams.hashes):
            of_reference = grams.captions % both.m >= m
            most = np.maximum.reduceat(np.where(of_reference, grams.times, 0), grams.starts)[grams.groups]
            right = np.where(of_reference, 0, np.minimum(grams.times, most))
            sums = np.bincount(grams.captions, weights=right, minlength=both.lengths.size)
            found[..., n - 1] = sums.reshape(both.lengths.shape)[:, :m]
        found[..., LONGEST + n - 1] = np.maximum(batch.lengths - n + 1, 0)
    found[..., -2] = batch.lengths
    lengths = padded.lengths[:, None, :]
    # Distance first, then the shorter: one number that orders as the pair does.
    key = np.abs(batch.lengths[:, :, None] - lengths) * (int(lengths.max()) + 1) + lengths
    chosen = np.where(real[:, None, :], key, np.iinfo(np.int64).max).argmin(axis=2)
    found[..., -1] = np.take_along_axis(padded.lengths, chosen, axis=1)
    found[~real.any(axis=1)] = 0
    return found


def _rouge_l(batch: Batch, padded: Batch, real: NDArray[np.bool_]) -> Numbers:
    shape = (batch.images, batch.m, padded.m)
    image, caption, reference = (axis.ravel() for axis in np.indices(shape))
    asked = np.flatnonzero(np.broadcast_to(real[:, None, :], shape).ravel())
    common = np.zeros(np.prod(shape), dtype=np.int64)
    common[asked] = _common(batch, padded, (image * batch.m + caption)[asked], (image * padded.m + reference)[asked])
    common = common.reshape(shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.nan_to_num(common.max(axis=-1) / batch.lengths)
        recall = np.nan_to_num(common / padded.lengths[:, None, :]).max(axis=-1)
        score = np.nan_to_num((1 + BETA**2) * precision * recall / (recall + BETA**2 * precision))
    score[~real.any(axis=1)] = np.nan
    return np.asarray(score, dtype=np.float64)


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
