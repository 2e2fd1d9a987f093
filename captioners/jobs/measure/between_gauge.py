"""How different the members of a set are from each other: the Vendi score of all captions, split within and between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioners.data.caption_sets import CaptionedImage, Group, OpenSet
from captioners.jobs.measure.gauge import Shown, to_parquet
from captioners.jobs.measure.words_gauge import versions
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
