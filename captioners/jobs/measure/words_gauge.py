"""What is measured of captions by their words alone: diversity within an image, flags, and counts across a set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from captioners.core.seeds import permutation
from captioners.data.caption_sets import CaptionedImage, Group, OpenSet
from captioners.jobs.measure.gauge import Fresh, Ids, Numbers, Shown, ratio, to_parquet
from captioners.metrics import across_set
from captioners.metrics.across_set import AcrossSet
from captioners.metrics.degenerate import CUT, DEGENERATE, FLAGS, REFUSED, TRUNCATED
from captioners.metrics.frequencies import HashedFrequencies
from captioners.metrics.kernels import SELF_CIDER
from captioners.metrics.metric import Metric
from captioners.metrics.novelty import Known
from captioners.metrics.streaming import WITHIN, WithinImage
from captioners.metrics.tokens import TOKENIZER


def versions(metrics: Sequence[Metric]) -> dict[str, int]:
    """Return the version of each metric, for an identity."""
    return {metric.name: metric.version for metric in metrics}


@dataclass(frozen=True)
class WithinGauge(Fresh):
    """Diversity within an image, at m captions of each."""

    m: int
    df: bytes | None
    """A table of `metrics.frequencies`, as bytes; None: no Self-CIDEr."""
    all_metrics: bool
    name: str = "within"

    @cached_property
    def _df(self) -> HashedFrequencies | None:
        return None if self.df is None else HashedFrequencies.from_bytes(self.df)

    @cached_property
    def _within(self) -> WithinImage:
        names = [one.name for one in WITHIN if self._df is not None or one != SELF_CIDER]
        return WithinImage(self.m, self._df, names if self.all_metrics else None)

    @property
    def identity(self) -> Mapping[str, Any]:
        """m, tokenizer, document frequencies, versions."""
        df = None if self._df is None else self._df.digest
        return {"m": self.m, "tokenizer": TOKENIZER, "df": df, "metrics": versions(self._within.metrics)}

    @property
    def shown(self) -> Sequence[Shown]:
        """Means over images."""
        return [Shown(one, (one.name,), at_m=True) for one in self._within.metrics]

    def measure(self, images: Sequence[CaptionedImage], opened: OpenSet, group: Group) -> bytes:  # noqa: ARG002
        """Measure the images that have m captions or more; the others have no number."""
        found: dict[str, Numbers] = {one.name: np.full(len(images), np.nan) for one in self._within.metrics}
        for places in by_count(images, self.m):
            values = self._within.values([images[at].captions for at in places])
            for metric, of_images in values.items():
                found[metric.name][places] = of_images
        return to_parquet(images, found)


def by_count(images: Sequence[CaptionedImage], m: int) -> Iterator[list[int]]:
    """Yield the places of the images of each number of captions, where it is m or more."""
    places: dict[int, list[int]] = {}
    for at, image in enumerate(images):
        if len(image.captions) >= m:
            places.setdefault(len(image.captions), []).append(at)
    yield from (places[count] for count in sorted(places))


@dataclass(frozen=True)
class FlagsGauge:
    """Shares of captions that are degenerate, truncated or refused: of all that were drawn."""

    name: str = "flags"

    @property
    def identity(self) -> Mapping[str, Any]:
        """Versions; which flags a caption has is the layer's."""
        return {"metrics": versions([DEGENERATE, TRUNCATED, REFUSED]), "degenerate": sorted(FLAGS)}

    @property
    def shown(self) -> Sequence[Shown]:
        """Shares are pooled over images."""
        return (
            Shown(DEGENERATE, ("degenerate", "drawn"), ratio),
            Shown(TRUNCATED, ("truncated", "drawn"), ratio),
            Shown(REFUSED, ("refused", "drawn"), ratio),
        )

    def measure(self, images: Sequence[CaptionedImage], opened: OpenSet, group: Group) -> bytes:  # noqa: ARG002
        """Count the flags that the run's rules gave."""
        counts = {
            "drawn": [len(image.flags) for image in images],
            "degenerate": [sum(not FLAGS.isdisjoint(flags) for flags in image.flags) for image in images],
            "truncated": [sum(CUT in flags for flags in image.flags) for image in images],
            "refused": [image.refused for image in images],
        }
        return to_parquet(images, {name: np.array(values, dtype=np.float64) for name, values in counts.items()})


@dataclass(frozen=True)
class AcrossGauge:
    """Counts across a set of m captions of each image: where an image has more, m of them, drawn by its name."""

    m: int
    seed: int
    only: frozenset[int] | None = None
    """Ids of the images that count; None: all."""
    only_digest: str = ""
    """A sha256 over them."""
    known: Known | None = None
    """What novelty is measured against; None: it is not."""
    name: str = "across"

    @classmethod
    def of(cls, m: int, seed: int, only: Ids | None, known: Known | None) -> "AcrossGauge":
        """Return the gauge for all images, or for those of sorted ids."""
        if only is None:
            return cls(m, seed, known=known)
        return cls(m, seed, frozenset(only.tolist()), sha256(only.tobytes()).hexdigest(), known)

    @property
    def identity(self) -> Mapping[str, Any]:
        """m, seed, tokenizer, images, what novelty is against, versions."""
        told = {"m": self.m, "seed": self.seed, "tokenizer": TOKENIZER, "metrics": versions(across_set.METRICS)}
        told |= {"only": self.only_digest} if self.only is not None else {}
        return told | ({"known": self.known.digest} if self.known is not None else {})

    @property
    def shown(self) -> Sequence[Shown]:
        """None: its numbers are of the whole set."""
        return ()

    def measure(self, images: Sequence[CaptionedImage], opened: OpenSet, group: Group) -> bytes:  # noqa: ARG002
        """Add up the images that have m captions or more."""
        found = AcrossSet(self.m, self.known)
        enough = [image for image in images if len(image.captions) >= self.m]
        if self.only is not None:
            enough = [image for image in enough if image.id in self.only]
        keys = [f"{image.shard}\0{image.key}" for image in enough]
        found.add([some_of(image, self.m, self.seed) for image in enough], keys)
        return found.to_bytes()


def some_of(image: CaptionedImage, m: int, seed: int) -> list[str]:
    """Return m of an image's captions: all, or where it has more, those that its name and the seed draw."""
    if len(image.captions) == m:
        return list(image.captions)
    order = permutation(len(image.captions), "measure", seed, image.shard, image.key)[:m]
    return [image.captions[at] for at in order.tolist()]
