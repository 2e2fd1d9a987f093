"""Captions against what people wrote: CIDEr-D, BLEU-4 and ROUGE-L of every caption, and the best of m."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioners.data.caption_sets import CaptionedImage, Group, OpenSet
from captioners.jobs.measure.gauge import Fresh, Numbers, Shown, to_parquet
from captioners.jobs.measure.references import References
from captioners.jobs.measure.words_gauge import by_count, versions
from captioners.metrics.against_references import Against
from captioners.metrics.frequencies import HashedFrequencies
from captioners.metrics.hashed import Batch
from captioners.metrics.references import BEST_CIDER_D, BLEU_4, CIDER_D, LONGEST, ROUGE_L, bleu
from captioners.metrics.retrieval import best_of
from captioners.metrics.tokens import TOKENIZER

_AT_ONCE = 1024
"""Images."""
_COUNTS = tuple(f"bleu_{at}" for at in range(2 * LONGEST + 2))


@dataclass(frozen=True)
class ReferencesGauge(Fresh):
    """Means over an image's captions, and BLEU of counts summed over all captions."""

    m: int
    references: References
    df: HashedFrequencies
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
            Shown(BEST_CIDER_D, ("best_cider_d",), at_m=True),
        )

    def measure(self, images: Sequence[CaptionedImage], opened: OpenSet, group: Group) -> bytes:
        """Score every caption that was kept of the images that have references; the others have no number."""
        told = self.references.of(opened, group)
        found: dict[str, Numbers] = {
            name: np.full(len(images), np.nan) for name in ("cider_d", "rouge_l", "best_cider_d", *_COUNTS)
        }
        for places in by_count(images, 1):
            known = [at for at in places if told.get(images[at].key)]
            for start in range(0, len(known), _AT_ONCE):
                self._score(images, told, known[start : start + _AT_ONCE], found)
        return to_parquet(images, found)

    def _score(
        self,
        images: Sequence[CaptionedImage],
        told: Mapping[str, tuple[str, ...]],
        places: list[int],
        found: dict[str, Numbers],
    ) -> None:
        """Score images with as many captions each."""
        batch = Batch.of([images[at].captions for at in places])
        against = Against(batch, [told[images[at].key] for at in places])
        scores = against.cider_d(self.df)
        found["cider_d"][places] = scores.mean(axis=1)
        found["rouge_l"][places] = against.rouge_l().mean(axis=1)
        if batch.m >= self.m:
            found["best_cider_d"][places] = best_of(scores, self.m)
        for name, counts in zip(_COUNTS, against.bleu_counts().sum(axis=1).T, strict=True):
            found[name][places] = counts
