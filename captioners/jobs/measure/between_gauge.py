"""How different the members of a set are from each other, and what each adds to the others.

All draws of each member count, whatever the number that sets are compared at, of images that no caption was refused of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioners.data.caption_sets import CaptionedImage, Group, OpenSet
from captioners.data.drawn_scene import WORLD_VERSION, from_json
from captioners.jobs.measure.gauge import Numbers, Shown, to_parquet
from captioners.jobs.measure.truth import judged
from captioners.jobs.measure.words_gauge import versions
from captioners.metrics.between import (
    DUPLICATES,
    FACTS_ADDED,
    GAMMA_ADDED,
    JACCARD,
    duplicates,
    facts_added,
    gamma_added,
    overlap,
)
from captioners.metrics.hashed import Batch
from captioners.metrics.kernels import cosine_kernel
from captioners.metrics.tokens import TOKENIZER
from captioners.metrics.vendi import ALPHA, BETA, GAMMA, partition

_METRICS = {"beta": BETA, "alpha": ALPHA, "gamma": GAMMA}


@dataclass(frozen=True)
class BetweenGauge:
    """Captions in effect of one member, of all, and members in effect, of images that no caption was refused of."""

    name: str = "between"

    @property
    def identity(self) -> Mapping[str, Any]:
        """Tokenizer, versions."""
        return {"tokenizer": TOKENIZER, "metrics": versions(list(_METRICS.values()))}

    @property
    def shown(self) -> Sequence[Shown]:
        """Means over images."""
        return [Shown(metric, (name,)) for name, metric in _METRICS.items()]

    def measure(self, images: Sequence[CaptionedImage], opened: OpenSet, group: Group) -> bytes:  # noqa: ARG002
        """Measure a group, parts being members."""
        found = {name: np.full(len(images), np.nan) for name in _METRICS}
        whole = [at for at, image in enumerate(images) if not image.refused]
        if whole:
            kernels = cosine_kernel(Batch.of([images[at].captions for at in whole]))
            split = partition(kernels, opened.draws)
            for name, column in found.items():
                column[whole] = getattr(split, name)
        return to_parquet(images, found)


@dataclass(frozen=True)
class AddedGauge:
    """What two members share, mean over pairs of them, and what each member adds to all others."""

    members: int
    drawn: bool
    """Whether the images are of the drawn world, whose facts are known."""
    name: str = "added"

    @property
    def identity(self) -> Mapping[str, Any]:
        """Tokenizer, world, versions."""
        metrics = [JACCARD, DUPLICATES, GAMMA_ADDED, *([FACTS_ADDED] if self.drawn else [])]
        return {
            "tokenizer": TOKENIZER,
            "metrics": versions(metrics),
            **({"world": WORLD_VERSION} if self.drawn else {}),
        }

    @property
    def shown(self) -> Sequence[Shown]:
        """Of the set; means over images."""
        return [Shown(JACCARD, (JACCARD.name,)), Shown(DUPLICATES, (DUPLICATES.name,))]

    def of_member(self, place: int) -> Sequence[Shown]:
        """Return what is of one member, by its place among the set's."""
        metrics = [GAMMA_ADDED, *([FACTS_ADDED] if self.drawn else [])]
        return [Shown(metric, (_column(metric.name, place),)) for metric in metrics]

    def measure(self, images: Sequence[CaptionedImage], opened: OpenSet, group: Group) -> bytes:
        """Measure a group, parts being members."""
        names = [shown.columns[0] for place in range(self.members) for shown in self.of_member(place)]
        found = {name: np.full(len(images), np.nan) for name in (JACCARD.name, DUPLICATES.name, *names)}
        whole = [at for at, image in enumerate(images) if not image.refused]
        if whole:
            batch = Batch.of([images[at].captions for at in whole])
            found[JACCARD.name][whole] = _over_pairs(overlap(batch, opened.draws))
            found[DUPLICATES.name][whole] = _over_pairs(duplicates(batch, opened.draws))
            for place, values in enumerate(gamma_added(cosine_kernel(batch), opened.draws)):
                found[_column(GAMMA_ADDED.name, place)][whole] = values
        if self.drawn:
            self._facts(images, whole, opened, group, found)
        return to_parquet(images, found)

    def _facts(
        self,
        images: Sequence[CaptionedImage],
        whole: Sequence[int],
        opened: OpenSet,
        group: Group,
        found: Mapping[str, Numbers],
    ) -> None:
        scenes = {one.key: from_json(one.meta["scene"]) for one in opened.samples(group) if "scene" in one.meta}
        known = [at for at in whole if images[at].key in scenes]
        verdicts = [judged(images[at].captions, scenes[images[at].key]) for at in known]
        for place, values in enumerate(facts_added(verdicts, opened.draws)):
            found[_column(FACTS_ADDED.name, place)][known] = values


def _column(name: str, place: int) -> str:
    return f"{name} {place}"


def _over_pairs(values: Numbers) -> Numbers:
    """Return the mean over pairs of different members, [A, A, B] -> [B]; nan where no pair has a value."""
    one, other = np.triu_indices(len(values), 1)
    pairs = values[one, other]
    known = ~np.isnan(pairs)
    count = known.sum(axis=0)
    total = np.where(known, pairs, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0), dtype=np.float64)
