"""Captions against what people wrote of the same images: CIDEr-D, BLEU and ROUGE-L, as COCO's own code has them.

Pure Python and numpy; the numbers are those of pycocoevalcap 1.2 on the words of `metrics.tokens`. Papers use another
tokenizer, so these numbers are compared with each other, not with papers. CIDEr-D weighs words by how rare they are in
the references of the evaluated set: it is not comparable across test sets either.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import UserError
from captioners.metrics.metric import Metric
from captioners.metrics.tokens import Words, grams, split_all, words

LONGEST = 4
"""n-grams are those of 1 to 4 words."""
SIGMA = 6.0
BETA = 1.2

Numbers = NDArray[np.float64]

CIDER_D = Metric(name="CIDEr-D", unit="score", high=10, better="higher", source="Vedantam et al. 2015, as COCO does")
BLEU_4 = Metric(name="BLEU-4", unit="share", high=1, better="higher", source="Papineni et al. 2002, closest length")
ROUGE_L = Metric(name="ROUGE-L", unit="share", high=1, better="higher", source="Lin 2004, beta 1.2, as COCO does")
METRICS = (CIDER_D, BLEU_4, ROUGE_L)


@dataclass(frozen=True)
class Frequencies:
    """In how many images' references each n-gram stands."""

    images: int
    counts: Mapping[Words, int]

    def weight(self, gram: Words) -> float:
        """Return the n-gram's inverse document frequency, in nats; one that no reference has weighs as if one had."""
        return log(self.images) - log(max(1, self.counts.get(gram, 0)))


@dataclass(frozen=True)
class _Vector:
    """A caption as weighted counts of n-grams, one table and one norm for each n."""

    tables: tuple[dict[Words, float], ...]
    norms: tuple[float, ...]
    length: int
    """Bigrams, which is what COCO's code calls length."""


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

    def __init__(self, references: Sequence[Sequence[str]], df: Frequencies | None = None) -> None:
        self._df = document_frequencies(references) if df is None else df
        self._weights: dict[Words, float] = {}
        self._references = [[self._vector(text) for text in split_all(texts)] for texts in references]

    def __call__(self, candidates: Sequence[str]) -> Numbers:
        """Return each image's CIDEr-D, float64 [B]; see `cider_d`."""
        _check(candidates, self._references)
        if self._df.images < 2:
            return np.full(len(candidates), nan)
        pairs = zip(split_all(candidates), self._references, strict=True)
        return np.array([_cider_of(self._vector(text), of_image) for text, of_image in pairs], dtype=np.float64)

    def _vector(self, text: Words) -> _Vector:
        tables, norms = [], []
        for n in range(1, LONGEST + 1):
            table: dict[Words, float] = {}
            for gram, times in Counter(grams(text, n)).items():
                weight = self._weights.get(gram)
                if weight is None:
                    weight = self._weights[gram] = self._df.weight(gram)
                table[gram] = times * weight
            tables.append(table)
            norms.append(sqrt(sum(value * value for value in table.values())))
        return _Vector(tuple(tables), tuple(norms), max(0, len(text) - 1))


def cider_d(candidates: Sequence[str], references: Sequence[Sequence[str]], df: Frequencies | None = None) -> Numbers:
    """Return each image's CIDEr-D, float64 [B], from 0 to 10 (papers print 100 times the mean).

    nan where an image has no references, and everywhere where the set has fewer than two images: then every word
    weighs 0, and COCO's code says 0 for any caption.

    Raises:
        UserError: not one candidate for each image.
    """
    return CiderD(references, df)(candidates)


def _cider_of(candidate: _Vector, references: Sequence[_Vector]) -> float:
    if not references:
        return nan
    total = 0.0
    for reference in references:
        likeness = 0.0
        for table, norm, other, other_norm in zip(
            candidate.tables, candidate.norms, reference.tables, reference.norms, strict=True
        ):
            if norm and other_norm:
                # Clipped, so that a word said again and again earns no more than the reference's use of it.
                dot = sum(min(value, other[gram]) * other[gram] for gram, value in table.items() if gram in other)
                likeness += dot / (norm * other_norm)
        total += likeness * exp(-((candidate.length - reference.length) ** 2) / (2 * SIGMA**2))
    return CIDER_D.checked(10 * total / LONGEST / len(references))


def bleu_counts(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Numbers:
    """Return what BLEU sums over images, float64 [B, 10]; nan in the rows of images without references.

    Columns: correct n-grams for n = 1 to 4 (clipped), n-grams made for n = 1 to 4, words made, words of the reference
    of closest length (of two as close, the shorter).
    """
    _check(candidates, references)
    rows = [_bleu_row(words(text), split_all(texts)) for text, texts in zip(candidates, references, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(len(rows), 2 * LONGEST + 2)


def _bleu_row(candidate: Words, references: Sequence[Words]) -> list[float]:
    if not references:
        return [nan] * (2 * LONGEST + 2)
    correct, made = [], []
    for n in range(1, LONGEST + 1):
        most: Counter[Words] = Counter()
        for reference in references:
            most |= Counter(grams(reference, n))
        correct.append(float((Counter(grams(candidate, n)) & most).total()))
        made.append(float(max(0, len(candidate) - n + 1)))
    closest = min((abs(len(r) - len(candidate)), len(r)) for r in references)[1]
    return [*correct, *made, float(len(candidate)), float(closest)]


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
    pairs = zip(candidates, references, strict=True)
    return np.array([_rouge_of(words(text), split_all(texts)) for text, texts in pairs], dtype=np.float64)


def _rouge_of(candidate: Words, references: Sequence[Words]) -> float:
    if not references:
        return nan
    common = [_common(candidate, reference) for reference in references]
    precision = max(common) / len(candidate) if candidate else 0.0
    recall = max((c / len(r) if r else 0.0) for c, r in zip(common, references, strict=True))
    if not precision or not recall:
        return 0.0
    return ROUGE_L.checked((1 + BETA**2) * precision * recall / (recall + BETA**2 * precision))


def _common(one: Words, other: Words) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for place, against in enumerate(other, 1):
            before, row[place] = row[place], before + 1 if word == against else max(row[place], row[place - 1])
    return row[-1]


def _check(candidates: Sequence[str], references: Sequence[Sequence[object]]) -> None:
    if len(candidates) != len(references):
        raise UserError(
            f"one caption for each image's references: {len(candidates)} captions, {len(references)} images"
        )
