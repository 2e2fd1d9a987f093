"""Captions against their pictures and each other in the space of a frozen model: CLIPScore, distance, Vendi score.

The judge must have another image tower than every captioner that it judges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from captioners.data.caption_sets import CaptionedImage, Group, OpenSet
from captioners.jobs.measure.gauge import Numbers, Partial, Shown, to_parquet
from captioners.jobs.measure.judge import Judge
from captioners.jobs.measure.references import References
from captioners.jobs.measure.words_gauge import by_count, versions
from captioners.metrics.alignment import BEST_CLIP_SCORE, CLIP_SCORE, PREFIX, REF_CLIP_SCORE, clip_score, ref_clip_score
from captioners.metrics.embedded import DISTANCE, RELATIVE_DISTANCE, distance, vendi_of_vectors
from captioners.metrics.hashed import Batch
from captioners.metrics.rarefaction import subsets
from captioners.metrics.retrieval import best_of
from captioners.metrics.vendi import VENDI_TEXT

_LEAST = 1e-6
"""A distance below it is rounding."""


@dataclass(frozen=True)
class ClipGauge:
    """Scores of every caption that was kept; distance and Vendi score of images that have m of them."""

    m: int
    judge: Judge
    references: References | None
    about: Mapping[str, Any]
    """What the references are; empty without any."""
    random: float
    """The distance of captions of different images, in the same space."""
    name: str = "clip"

    @property
    def blind(self) -> bool:
        """Whether no picture can be looked at again."""
        return self.judge.blind

    @property
    def identity(self) -> Mapping[str, Any]:
        """m, the judge's weights, references, versions."""
        metrics = versions([one.metric for one in self.shown])
        return {"m": self.m, "judge": self.judge.digest, "metrics": metrics, **self.about}

    @property
    def shown(self) -> Sequence[Shown]:
        """CLIPScore first."""
        with_references = [Shown(REF_CLIP_SCORE, ("ref_clip_score",))] if self.references is not None else []
        return (
            Shown(CLIP_SCORE, ("clip_score",)),
            *with_references,
            Shown(BEST_CLIP_SCORE, ("best_clip_score",), at_m=True),
            # A captioner that says one thing of all images has no distance to be a share of.
            Shown(
                RELATIVE_DISTANCE, ("distance",), None, 1 / self.random if self.random > _LEAST else np.nan, at_m=True
            ),
            Shown(DISTANCE, ("distance",), at_m=True),
            Shown(VENDI_TEXT, ("vendi",), at_m=True),
        )

    def measure(self, images: Sequence[CaptionedImage], opened: OpenSet, group: Group) -> bytes:
        """Measure a group; a picture that is away or unreadable leaves its captions' scores undefined."""
        found: dict[str, Numbers] = {
            name: np.full(len(images), np.nan)
            for name in ("clip_score", "best_clip_score", "ref_clip_score", "distance", "vendi")
        }
        references = {} if self.references is None else self.references.of(opened, group)
        told = [tuple(PREFIX + text for text in references.get(image.key, ())) for image in images]
        said = [tuple(PREFIX + text for text in image.captions) for image in images]
        texts = self.judge.texts([*chain(*said, *told)])
        seen, pictures, away = self.judge.pictures([image for image in images if image.captions], opened)
        at_of = {image.id: at for at, image in enumerate(images)}
        for image, features in zip(seen, pictures, strict=True):
            at = at_of[image.id]
            vectors = texts(said[at])
            both = np.broadcast_to(features, vectors.shape)
            scores = clip_score(both, vectors)
            found["clip_score"][at] = scores.mean()
            if len(scores) >= self.m:
                found["best_clip_score"][at] = best_of(scores[None], self.m)[0]
            if told[at]:
                found["ref_clip_score"][at] = ref_clip_score(both, vectors, [texts(told[at])] * len(scores)).mean()
        found |= self._spread(images)
        data = to_parquet(images, found)
        return Partial(data) if away else data

    def _spread(self, images: Sequence[CaptionedImage]) -> dict[str, Numbers]:
        """Return distance and Vendi score of the captions as they stand, without CLIPScore's prefix."""
        found = {name: np.full(len(images), np.nan) for name in ("distance", "vendi")}
        texts = self.judge.texts([text for image in images for text in image.captions])
        for places in by_count(images, max(2, self.m)):
            vectors = np.stack([texts(images[at].captions) for at in places])
            # A mean over pairs: the same number at any m.
            found["distance"][places] = distance(vectors)
            batch = Batch.of([images[at].captions for at in places])
            scores = [
                vendi_of_vectors(np.take_along_axis(vectors, chosen[:, :, None], axis=1))
                for chosen in subsets(batch, self.m)
            ]
            found["vendi"][places] = np.mean(scores, axis=0)
        return found
