"""How different the captions of one image are: Div-1, Div-2, distinct n-grams, unique captions, lengths.

All numbers fall with the count of captions m and with their length, so they are compared at equal m, with the lengths
beside them. They are blind to meaning: a contradiction is as diverse as a paraphrase. Read them with faithfulness.
"""

from collections.abc import Callable, Mapping, Sequence
from math import nan, sqrt
from types import MappingProxyType

from captioners.core.errors import UserError
from captioners.metrics.metric import Metric
from captioners.metrics.tokens import Words, grams, split_all


def _grams(captions: Sequence[Words], n: int) -> list[Words]:
    return [gram for caption in captions for gram in grams(caption, n)]


def div_n(captions: Sequence[Words], n: int) -> float:
    """Return Div-n: different n-grams of an image's captions / their number of *words*, also for n = 2; nan if none."""
    total = sum(map(len, captions))
    return len(set(_grams(captions, n))) / total if total else nan


def distinct_n(captions: Sequence[Words], n: int) -> float:
    """Return different n-grams / all n-grams of an image's captions; nan if there are none."""
    grams = _grams(captions, n)
    return len(set(grams)) / len(grams) if grams else nan


def unique_share(captions: Sequence[Words]) -> float:
    """Return different captions / captions of an image (as words, so case and punctuation do not count)."""
    return len(set(captions)) / len(captions) if captions else nan


def mean_length(captions: Sequence[Words]) -> float:
    """Return the mean number of words of an image's captions."""
    return sum(map(len, captions)) / len(captions) if captions else nan


def length_spread(captions: Sequence[Words]) -> float:
    """Return the standard deviation (of this population, not of a sample) of the captions' number of words."""
    if not captions:
        return nan
    mean = mean_length(captions)
    return sqrt(sum((len(caption) - mean) ** 2 for caption in captions) / len(captions))


_SHETTY = "Shetty et al. 2017, section 5; the denominator is words"

METRICS: Mapping[Metric, Callable[[Sequence[Words]], float]] = MappingProxyType(
    {
        Metric(name="Div-1", unit="share", high=1, better="higher", source=_SHETTY): lambda c: div_n(c, 1),
        Metric(name="Div-2", unit="share", high=1, better="higher", source=_SHETTY): lambda c: div_n(c, 2),
        Metric(
            name="distinct-2", unit="share", high=1, better="higher", source="after Li et al. 2016, over all bigrams"
        ): lambda c: distinct_n(c, 2),
        Metric(
            name="unique captions", unit="share", high=1, better="higher", source="after Deshpande et al. 2019"
        ): unique_share,
        Metric(name="length", unit="words", better="neither", source="mean over an image's captions"): mean_length,
        Metric(
            name="length spread", unit="words", better="neither", source="standard deviation within an image"
        ): length_spread,
    }
)
"""Each metric and its function of the captions of one image."""


def diversity(images: Sequence[Sequence[str]]) -> dict[Metric, list[float]]:
    """Return each metric's value for each image, given every image's captions (text), in the order of the images.

    Raises:
        UserError: the images have different numbers of captions, whose diversity cannot be compared or averaged.
    """
    counts = sorted({len(captions) for captions in images})
    if len(counts) > 1:
        raise UserError(
            f"diversity is compared at an equal number of captions an image, and these have {counts[0]} to "
            f"{counts[-1]}; give the same number of each"
        )
    split = [split_all(captions) for captions in images]
    return {metric: [metric.checked(of(captions)) for captions in split] for metric, of in METRICS.items()}
