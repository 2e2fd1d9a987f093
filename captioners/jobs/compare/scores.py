"""Two sets of captions of the same images, scored side by side: by references, length, flags and a scorer's features.

**Matched length**: both captions of an image are cut to the words of the shorter one before they are scored. What is
then left of a difference is in the words chosen; what went away went with how many there are.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import UserError
from captioners.metrics.alignment import CLIP_SCORE, REF_CLIP_SCORE, SELF_RETRIEVAL, Aligned
from captioners.metrics.metric import Metric
from captioners.metrics.paired import Difference, difference, difference_of_sums
from captioners.metrics.references import BLEU_4, CIDER_D, ROUGE_L, CiderD, bleu, bleu_counts, rouge_l
from captioners.metrics.tokens import words
from captioners.text.flags import Rules, flags_of

MATCHED = replace(CIDER_D, name="CIDEr-D at matched length", source="both captions cut to the words of the shorter one")
LENGTH = Metric(name="length", unit="words", better="neither", source="words of a caption")
DEGENERATE = Metric(
    name="degenerate captions", unit="share", high=1, better="lower", source="empty, short, loop, no text"
)
CUT = Metric(
    name="cut by the limit", unit="share", high=1, better="lower", source="captions that did not end themselves"
)
SHARED = Metric(name="shared captions", unit="share", high=1, better="lower", source="captions of several images")

Numbers = NDArray[np.float64]
Pair = tuple[Numbers, Numbers]
"""What a metric gave before and after, image by image, [B] each."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """A caption, and how it came out."""

    text: str
    raw_text: str | None = None
    """The text as decoded, when the clean text differs from it."""
    finish: str = "eos"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What each metric says of the two."""

    differences: Mapping[str, Difference]
    """By the metric's name, the main one first."""
    per_image: Mapping[str, Pair]
    """Of those metrics that are one number an image."""
    reference_length: float
    """Mean over images of the mean number of words of their references; nan without any."""


def score(
    before: Sequence[Said],
    after: Sequence[Said],
    references: Sequence[Sequence[str]],
    aligned: tuple[Aligned, Aligned] | None = None,
    *,
    seed: int = 0,
) -> Scores:
    """Score two captions of each image.

    Args:
        before, after: one caption for each image. references: each image's, or none.
        aligned: what a frozen scorer says of both. seed: of the resamples.

    Raises:
        UserError: not as many captions as images.
    """
    if not len(before) == len(after) == len(references):
        raise UserError(f"one caption of each side for each image: {len(before)}, {len(after)} and {len(references)}")
    texts = [said.text for said in before], [said.text for said in after]
    cider = CiderD(references)
    pairs: dict[Metric, Pair] = {
        CIDER_D: (cider(texts[0]), cider(texts[1])),
        MATCHED: _both(cider, *matched(*texts)),
        ROUGE_L: (rouge_l(texts[0], references), rouge_l(texts[1], references)),
        **_alignment(aligned),
        LENGTH: _both(_lengths, *texts),
        DEGENERATE: (_degenerate(before), _degenerate(after)),
        CUT: (_cut(before), _cut(after)),
        SHARED: _both(_shared, *texts),
    }
    found = {metric.name: difference(metric, *pair, seed=seed) for metric, pair in pairs.items()}
    counts = [bleu_counts(side, references) for side in texts]
    first = [CIDER_D.name, MATCHED.name]
    corpus = {BLEU_4.name: difference_of_sums(BLEU_4, counts[0], counts[1], bleu, seed=seed)}
    return Scores(
        differences={name: found[name] for name in first} | corpus | found,
        per_image={metric.name: pair for metric, pair in pairs.items()},
        reference_length=_reference_length(references),
    )


def matched(before: Sequence[str], after: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return both captions of each image, cut to the words of the shorter one.

    >>> matched(["a dog"], ["a large brown dog"])
    (['a dog'], ['a large'])
    """
    split = [(words(one), words(other)) for one, other in zip(before, after, strict=True)]
    shorter = [min(len(one), len(other)) for one, other in split]
    sides = ([" ".join(pair[side][:n]) for pair, n in zip(split, shorter, strict=True)] for side in (0, 1))
    return next(sides), next(sides)


def _both(of: Callable[[Sequence[str]], Numbers], before: Sequence[str], after: Sequence[str]) -> Pair:
    return of(before), of(after)


def _alignment(aligned: tuple[Aligned, Aligned] | None) -> dict[Metric, Pair]:
    if aligned is None:
        return {}
    one, other = aligned
    return {
        CLIP_SCORE: (one.clip_score, other.clip_score),
        REF_CLIP_SCORE: (one.ref_clip_score, other.ref_clip_score),
        SELF_RETRIEVAL: (one.found, other.found),
    }


def _lengths(texts: Sequence[str]) -> Numbers:
    return np.array([len(words(text)) for text in texts], dtype=np.float64)


def _degenerate(side: Sequence[Said]) -> Numbers:
    rules = Rules()
    refused = [rules.refused(flags_of(said.text, said.raw_text, said.finish)) for said in side]
    return np.array(refused, dtype=np.float64)


def _cut(side: Sequence[Said]) -> Numbers:
    return np.array([said.finish == "length" for said in side], dtype=np.float64)


def _shared(texts: Sequence[str]) -> Numbers:
    """Return 1.0 for each caption that another image has, too: many of them are a collapse."""
    split = [words(text) for text in texts]
    times = Counter(split)
    return np.array([times[text] > 1 for text in split], dtype=np.float64)


def _reference_length(references: Sequence[Sequence[str]]) -> float:
    means = [float(_lengths(of_image).mean()) for of_image in references if of_image]
    return sum(means) / len(means) if means else nan
