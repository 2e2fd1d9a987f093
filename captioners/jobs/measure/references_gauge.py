"""Captions against what people wrote: CIDEr-D, BLEU-4 and ROUGE-L of every caption, and the best of m."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from captioners.data.caption_sets import CaptionedImage, Group, OpenSet
from captioners.jobs.measure.gauge import Fresh, Numbers, Shown, to_parquet
from captioners.jobs.measure.references import References
from captioners.jobs.measure.words_gauge import versions
from captioners.metrics.references import (
    BLEU_4,
    CIDER_D,
    LONGEST,
    ROUGE_L,
    CiderD,
    Frequencies,
    bleu,
    bleu_counts,
    rouge_l,
)
from captioners.metrics.retrieval import best_of
from captioners.metrics.tokens import TOKENIZER

BEST_CIDER_D = replace(CIDER_D, name="CIDEr-D, best of m", source="the best of m captions; mean over choices of m")
_COUNTS = tuple(f"bleu_{at}" for at in range(2 * LONGEST + 2))


@dataclass(frozen=True)
class ReferencesGauge(Fresh):
    """Means over an image's captions, and BLEU of counts summed over all captions."""

    m: int
    references: References
    df: Frequencies
    about: Mapping[str, Any]
    """What the references and their frequencies are: `References.identity`, images, digest."""
    name: str = "references"

    @property
    def identity(self) -> Mapping[str, Any]:
        """m, tokenizer, references, versions."""
        metrics = versions([CIDER_D, BEST_CIDER_D, BLEU_4, ROUGE_L])
        return {"m": self.m, "tokenizer": TOKENIZER, "metrics": metrics, **self.about}

    @property
    def shown(self) -> Sequence[Shown]:
        """CIDEr-D first."""
        return (
            Shown(CIDER_D, ("cider_d",)),
            Shown(BLEU_4, _COUNTS, bleu),
            Shown(ROUGE_L, ("rouge_l",)),
            Shown(BEST_CIDER_D, ("best_cider_d",)),
        )

    def measure(self, images: Sequence[CaptionedImage], opened: OpenSet, group: Group) -> bytes:
        """Score every caption that was kept of the images that have references; the others have no number."""
        told = self.references.of(opened, group)
        references = [told.get(image.key, ()) for image in images]
        cider = CiderD(references, self.df)
        most = max((len(image.captions) for image in images), default=0)
        scores = np.full((2, most, len(images)), np.nan)
        counts = np.full((len(images), len(_COUNTS)), np.nan)
        counts[[bool(texts) and bool(one.captions) for texts, one in zip(references, images, strict=True)]] = 0
        for k in range(most):
            there = np.array([len(image.captions) > k for image in images])
            texts = [image.captions[k] if len(image.captions) > k else "" for image in images]
            scores[0, k] = np.where(there, cider(texts), np.nan)
            scores[1, k] = np.where(there, rouge_l(texts, references), np.nan)
            counts += np.where(there[:, None], bleu_counts(texts, references), 0)
        columns: dict[str, Numbers] = {
            "cider_d": mean_of(scores[0]),
            "rouge_l": mean_of(scores[1]),
            "best_cider_d": best_of_some(scores[0], self.m),
            **dict(zip(_COUNTS, counts.T, strict=True)),
        }
        return to_parquet(images, columns)


def mean_of(scores: Numbers) -> Numbers:
    """Return the mean over captions, [m, B] -> [B]; nan marks a caption that is not there."""
    known = ~np.isnan(scores)
    number = known.sum(axis=0)
    total = np.where(known, scores, 0).sum(axis=0)
    return np.asarray(np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0))


def best_of_some(scores: Numbers, m: int) -> Numbers:
    """Return the best of m captions, the mean over all choices of m, [M, B] -> [B]; nan of images with fewer."""
    found = np.full(scores.shape[1], np.nan)
    number = (~np.isnan(scores)).sum(axis=0)
    for count in np.unique(number[number >= m]).tolist():
        # Captions that are not there are the last ones.
        found[number == count] = best_of(scores[:count, number == count].T, m)
    return found
