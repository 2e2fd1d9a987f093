"""Captions against what people wrote of the same images: CIDEr-D, BLEU and ROUGE-L, as COCO's own code has them.

The numbers are those of pycocoevalcap 1.2 on the words of `metrics.tokens`. Papers use another tokenizer, so these
numbers are compared with each other, not with papers. CIDEr-D weighs words by how rare they are in the references of
the evaluated set: it is not comparable across test sets either. Several captions of each image: `against_references`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log, nan

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import UserError
from captioners.metrics import frequencies
from captioners.metrics.against_references import Against
from captioners.metrics.frequencies import HashedFrequencies
from captioners.metrics.hashed import Batch
from captioners.metrics.metric import Metric
from captioners.metrics.tokens import Words, grams, split_all

LONGEST = frequencies.LONGEST
"""n-grams are those of 1 to 4 words."""
_AT_ONCE = 1024
"""Images."""

Numbers = NDArray[np.float64]

CIDER_D = Metric(name="CIDEr-D", unit="score", high=10, better="higher", source="Vedantam et al. 2015, as COCO does")
BLEU_4 = Metric(name="BLEU-4", unit="share", high=1, better="higher", source="Papineni et al. 2002, closest length")
ROUGE_L = Metric(name="ROUGE-L", unit="share", high=1, better="higher", source="Lin 2004, beta 1.2, as COCO does")
BEST_CIDER_D = Metric(
    name="CIDEr-D, best of m",
    unit="score",
    high=10,
    better="higher",
    source="best of m captions, mean over choices",
)
METRICS = (CIDER_D, BLEU_4, ROUGE_L, BEST_CIDER_D)


@dataclass(frozen=True)
class Frequencies:
    """In how many images' references each n-gram stands."""

    images: int
    counts: Mapping[Words, int]

    def weight(self, gram: Words) -> float:
        """Return the n-gram's inverse document frequency, in nats; one that no reference has weighs as if one had."""
        return log(self.images) - log(max(1, self.counts.get(gram, 0)))

    def hashed(self) -> HashedFrequencies:
        """Return it as a table of hashes."""
        parts, counts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for n in range(1, LONGEST + 1):
            often = [gram for gram, count in self.counts.items() if len(gram) == n and count > 1]
            parts.append(Batch.of_words([[gram] for gram in often]).gram_hashes(n)[0])
            counts.append(np.array([self.counts[gram] for gram in often], dtype=np.int64))
        hashes = np.concatenate(parts)
        order = np.argsort(hashes)
        return HashedFrequencies(self.images, hashes[order], np.concatenate(counts)[order])


def document_frequencies(references: Sequence[Sequence[str]]) -> Frequencies:
    """Count the n-grams of the references of a whole set; images without references are not counted."""
    counts: Counter[Words] = Counter()
    images = 0
    for texts in references:
        images += bool(texts)
        counts.update({gram for text in split_all(texts) for n in range(1, LONGEST + 1) for gram in grams(text, n)})
    return Frequencies(images, counts)


class CiderD:
    """CIDEr-D by the references of a set of images, prepared once for any number of captioners.

    Args:
        references: each image's. df: frequencies of a whole set that these images are part of; None: they are the set.
    """

    def __init__(self, references: Sequence[Sequence[str]], df: Frequencies | HashedFrequencies | None = None) -> None:
        found = document_frequencies(references) if df is None else df
        self._df = found.hashed() if isinstance(found, Frequencies) else found
        self._references = references

    def __call__(self, candidates: Sequence[str]) -> Numbers:
        """Return each image's CIDEr-D, float64 [B]; see `cider_d`."""
        _check(candidates, self._references)
        found = [against.cider_d(self._df)[:, 0] for against in _batches(candidates, self._references)]
        return np.concatenate([np.zeros(0), *found])


def cider_d(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    df: Frequencies | HashedFrequencies | None = None,
) -> Numbers:
    """Return each image's CIDEr-D, float64 [B], from 0 to 10 (papers print 100 times the mean).

    nan where an image has no references, and everywhere where the set has fewer than two images: then every word
    weighs 0, and COCO's code says 0 for any caption.

    Raises:
        UserError: not one candidate for each image.
    """
    return CiderD(references, df)(candidates)


def bleu_counts(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Numbers:
    """Return what BLEU sums over images, float64 [B, 10]; nan in the rows of images without references.

    Columns: correct n-grams for n = 1 to 4 (clipped), n-grams made for n = 1 to 4, words made, words of the reference
    of closest length (of two as close, the shorter).
    """
    _check(candidates, references)
    found = [against.bleu_counts()[:, 0].astype(np.float64) for against in _batches(candidates, references)]
    counts = np.concatenate([np.zeros((0, 2 * LONGEST + 2)), *found])
    counts[[not texts for texts in references]] = nan
    return counts


def bleu(counts: Numbers, n: int = LONGEST) -> Numbers:
    """Return corpus BLEU-n of summed `bleu_counts`, [..., 10] -> [...], without smoothing: 0 where no n-gram is right.

    nan where not one n-gram was made.
    """
    if not 1 <= n <= LONGEST:
        raise UserError(f"BLEU-{n}: n is 1 to {LONGEST}")
    correct, made = counts[..., :n], counts[..., LONGEST : LONGEST + n]
    length, closest = counts[..., -2], counts[..., -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(made > 0, correct / made, nan)
        mean = np.exp(np.log(shares).mean(axis=-1))
        brevity = np.where(length < closest, np.exp(1 - closest / length), 1.0)
    return np.asarray(mean * brevity, dtype=np.float64)


def rouge_l(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Numbers:
    """Return each image's ROUGE-L, float64 [B]: an F-measure (beta 1.2) of the longest common subsequence of words.

    Precision and recall are each the best over the references. nan where an image has no references.
    """
    _check(candidates, references)
    found = [against.rouge_l()[:, 0] for against in _batches(candidates, references)]
    return np.concatenate([np.zeros(0), *found])


def _batches(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Iterator[Against]:
    for start in range(0, len(candidates), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield Against(Batch.of([[text] for text in candidates[part]]), references[part])


def _check(candidates: Sequence[str], references: Sequence[Sequence[object]]) -> None:
    if len(candidates) != len(references):
        raise UserError(
            f"one caption for each image's references: {len(candidates)} captions, {len(references)} images"
        )
