"""How different the captions of one image are, by their words: one number an image, a batch of images at a time.

All numbers change with the count of captions m and with their length, so they are compared at equal m, with the lengths
beside them. They are blind to meaning: a contradiction is as diverse as a paraphrase. Read them with faithfulness.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from captioners.metrics.hashed import Batch, Numbers
from captioners.metrics.kernels import LSA, cosine_kernel, count_kernel, eigen_diversity
from captioners.metrics.metric import Metric
from captioners.metrics.self_bleu import MBLEU_4, mbleu, others_counts
from captioners.metrics.vendi import VENDI_WORDS, vendi

_SHETTY = "Shetty et al. 2017, section 5; the denominator is words"
DIV_1 = Metric(name="Div-1", unit="share", high=1, better="higher", source=_SHETTY)
DIV_2 = Metric(name="Div-2", unit="share", high=1, better="higher", source=_SHETTY)
DISTINCT_2 = Metric(
    name="distinct-2", unit="share", high=1, better="higher", source="after Li et al. 2016, over all bigrams"
)
UNIQUE = Metric(name="unique captions", unit="share", high=1, better="higher", source="after Deshpande et al. 2019")
LENGTH = Metric(name="length", unit="words", better="neither", source="mean over an image's captions")
LENGTH_SPREAD = Metric(
    name="length spread", unit="words", better="neither", source="standard deviation within an image"
)


def div_n(batch: Batch, n: int) -> Numbers:
    """Return Div-n: different n-grams / number of *words*, also for n = 2, [B]; nan of images without a word."""
    return _ratio(_different(batch, n), batch.lengths.sum(axis=1))


def distinct_n(batch: Batch, n: int) -> Numbers:
    """Return different n-grams / all n-grams of an image's captions, [B]; nan where there are none."""
    return _ratio(_different(batch, n), np.maximum(batch.lengths - n + 1, 0).sum(axis=1))


def unique_share(batch: Batch) -> Numbers:
    """Return different captions / captions of an image (as words, so case and punctuation do not count), [B]."""
    ordered = np.sort(batch.caption_hashes, axis=1)
    different = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1)
    return _ratio(different, np.full(batch.images, batch.m))


def mean_length(batch: Batch) -> Numbers:
    """Return the mean number of words of an image's captions, [B]."""
    return _ratio(batch.lengths.sum(axis=1), np.full(batch.images, batch.m))


def length_spread(batch: Batch) -> Numbers:
    """Return the standard deviation (of this population, not of a sample) of the captions' number of words, [B]."""
    apart = batch.lengths - mean_length(batch)[:, None]
    return np.sqrt(_ratio((apart * apart).sum(axis=1), np.full(batch.images, batch.m)))


METRICS: Mapping[Metric, Callable[[Batch], Numbers]] = MappingProxyType(
    {
        DIV_1: lambda batch: div_n(batch, 1),
        DIV_2: lambda batch: div_n(batch, 2),
        DISTINCT_2: lambda batch: distinct_n(batch, 2),
        MBLEU_4: lambda batch: mbleu(others_counts(batch)),
        UNIQUE: unique_share,
        LENGTH: mean_length,
        LENGTH_SPREAD: length_spread,
        LSA: lambda batch: eigen_diversity(count_kernel(batch)),
        VENDI_WORDS: lambda batch: vendi(cosine_kernel(batch)),
    }
)
"""Each metric that needs nothing but captions, and its function of a batch of images' captions."""


def diversity(images: Sequence[Sequence[str]]) -> dict[Metric, list[float]]:
    """Return each metric's value for each image, given every image's captions (text), in the order of the images.

    Raises:
        UserError: the images have different numbers of captions, whose diversity cannot be compared or averaged.
    """
    batch = Batch.of(images)
    return {metric: [metric.checked(value) for value in of(batch).tolist()] for metric, of in METRICS.items()}


def _different(batch: Batch, n: int) -> Numbers:
    grams = batch.grams(n)
    image = grams.captions[grams.starts] // max(1, batch.m)
    return np.bincount(image, minlength=batch.images).astype(np.float64)


def _ratio(parts: Numbers, wholes: Numbers) -> Numbers:
    found = np.full(len(parts), np.nan)
    return np.asarray(np.divide(parts, wholes, out=found, where=np.asarray(wholes) > 0), dtype=np.float64)
