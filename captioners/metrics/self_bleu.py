"""mBLEU: each caption of an image scored by BLEU against the image's other captions; low where captions differ.

Two numbers bear this name and differ: the mean over an image's captions of each one's BLEU (`mBLEU-4`), and BLEU of
counts that are summed over all images first, for each place k of a caption, then the mean over k (`corpus mBLEU-4`).
A caption of fewer than 4 words is scored by as many words as it has, so that two equal short captions count as equal.
"""

import numpy as np

from captioners.metrics.frequencies import LONGEST
from captioners.metrics.hashed import Batch, Grams, Numbers, Whole
from captioners.metrics.metric import Metric

_SHETTY = "Shetty et al. 2017; exact, without smoothing, order min(4, words)"
MBLEU_4 = Metric(
    name="mBLEU-4", unit="share", high=1, better="lower", source=f"{_SHETTY}; mean over captions, then over images"
)
CORPUS_MBLEU_4 = Metric(
    name="corpus mBLEU-4", unit="share", high=1, better="lower", source=f"{_SHETTY}; counts summed over images"
)


def others_counts(batch: Batch) -> Whole:
    """Return what BLEU sums, each caption against the others of its image, int64 [B, m, 10].

    Columns as in `references.bleu_counts`: correct n-grams for n = 1 to 4 (clipped by the most that one other caption
    has), n-grams made, words made, words of the other caption of closest length (of two as close, the shorter).
    """
    found = np.zeros((batch.images, batch.m, 2 * LONGEST + 2), dtype=np.int64)
    for n in range(1, LONGEST + 1):
        found[..., n - 1] = _correct(batch.grams(n), batch.lengths.size).reshape(batch.lengths.shape)
        found[..., LONGEST + n - 1] = np.maximum(batch.lengths - n + 1, 0)
    found[..., -2] = batch.lengths
    found[..., -1] = _closest(batch.lengths)
    return found


def _correct(grams: Grams, captions: int) -> Whole:
    """Return each caption's n-grams, each counted as often as some other caption of the image has it, [captions].

    The most and the second most of each n-gram say what every caption's others have: linear in the n-grams.
    """
    if not len(grams.hashes):
        return np.zeros(captions, dtype=np.int64)
    most = np.maximum.reduceat(grams.times, grams.starts)
    is_most = grams.times == most[grams.groups]
    places = np.where(is_most, np.arange(len(grams.times)), len(grams.times))
    owners = np.minimum.reduceat(places, grams.starts)
    rest = grams.times.copy()
    rest[owners] = 0
    others = most[grams.groups]
    others[owners] = np.maximum.reduceat(rest, grams.starts)
    clipped = np.minimum(grams.times, others)
    # Whole numbers far below 2^53, so the sum in floats is exact.
    return np.bincount(grams.captions, weights=clipped, minlength=captions).astype(np.int64)


def _closest(lengths: Whole) -> Whole:
    """Return for each caption the length, among the others of its image, that is closest to its own, [B, m]."""
    if lengths.shape[1] < 2:
        return lengths
    apart = np.abs(lengths[:, :, None] - lengths[:, None, :])
    # Distance first, then the shorter: one number that orders as the pair does.
    key = apart * (2 * int(lengths.max(initial=0)) + 1) + lengths[:, None, :]
    itself = np.arange(lengths.shape[1])
    key[:, itself, itself] = np.iinfo(np.int64).max
    chosen = key.argmin(axis=2)
    return np.take_along_axis(lengths, chosen, axis=1)


def bleu_of(counts: Whole, n: int = LONGEST) -> Numbers:
    """Return BLEU-n of counts, [..., 10] -> [...], of order min(n, the longest n-grams made); nan without a word."""
    correct, made = counts[..., :n].astype(np.float64), counts[..., LONGEST : LONGEST + n].astype(np.float64)
    length, closest = counts[..., -2].astype(np.float64), counts[..., -1].astype(np.float64)
    order = (made > 0).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(made > 0, np.log(correct / made), 0.0).sum(axis=-1) / order
        brevity = np.where(length < closest, 1 - closest / length, 0.0)
        return np.where(order > 0, np.exp(logs + brevity), np.nan)


def mbleu(counts: Whole, n: int = LONGEST) -> Numbers:
    """Return each image's mean BLEU-n of its captions, [B, m, 10] -> [B]; captions without a word are left out."""
    each = bleu_of(counts, n)
    known = ~np.isnan(each)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, each, 0.0).sum(axis=-1) / known.sum(axis=-1), dtype=np.float64)


def corpus_mbleu(sums: Whole, n: int = LONGEST) -> float:
    """Return corpus mBLEU-n of counts summed over images, [m, 10]; nan where no caption has a word."""
    return float(mbleu(sums[None], n)[0])
