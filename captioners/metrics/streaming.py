"""Metrics of sets of any size: per-image values a batch at a time, and sums that merge exactly in any order.

`WithinImage` gives each image's numbers; `Sums` adds them up; `AcrossSet` (metrics.across_set) holds what is a property
of the whole. What is merged from shards equals the whole, bit for bit.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt

import numpy as np

from captioners.core.errors import CaptionersError, UserError, near
from captioners.metrics.diversity import DIV_1, DIV_2, LENGTH, LENGTH_SPREAD, METRICS, UNIQUE
from captioners.metrics.frequencies import HashedFrequencies
from captioners.metrics.hashed import Batch, Numbers
from captioners.metrics.kernels import SELF_CIDER, SELF_CIDER_D, cider_d_kernel, cider_kernel, eigen_diversity
from captioners.metrics.metric import Metric
from captioners.metrics.packed import pack, text_of, unpack
from captioners.metrics.rarefaction import EXACT, subsets
from captioners.metrics.self_bleu import MBLEU_4

BUNDLE = (DIV_1, DIV_2, MBLEU_4, SELF_CIDER, UNIQUE, LENGTH, LENGTH_SPREAD)
"""What is measured unless more is asked for."""
_WEIGHTED = {SELF_CIDER: cider_kernel, SELF_CIDER_D: cider_d_kernel}
"""Metrics that need a table, by their kernels."""
WITHIN = (*METRICS, SELF_CIDER)
"""All metrics of an image's captions that need no model."""
BY_NAME_ONLY = (SELF_CIDER_D,)
"""For comparison with others' numbers; it depends on the order of the captions, so that it is no part of all."""
_AT_ONCE = 4096
"""Captions."""
_BITS = 60
"""Sums are of whole multiples of 2 to the minus this, so that they are exact and no order can change them."""


class WithinImage:
    """Metrics of the captions of each image by itself, at m captions of each.

    Args:
        m: captions of an image. Images with more are rarefied: the mean over all choices of m of them, in closed form
            where there is one, else over every choice, or over 20 that depend on the image's captions alone; choices
            for which a metric is undefined are left out.
        df: the table that Self-CIDEr weighs words by; without it, it is not among the metrics.
        names: of the metrics; absent, those of the bundle.

    Raises:
        UserError: an unknown name, or Self-CIDEr by name without a table.
    """

    def __init__(self, m: int, df: HashedFrequencies | None = None, names: Sequence[str] | None = None) -> None:
        if m < 1:
            raise UserError(f"metrics of {m} captions an image: give 1 or more")
        self.m, self._df = m, df
        known = {metric.name: metric for metric in (*WITHIN, *BY_NAME_ONLY)}
        for name in names or ():
            if name not in known:
                raise UserError(f"no metric of an image's captions is named '{name}'.{near(name, known)}")
        wanted = BUNDLE if names is None else tuple(known[name] for name in names)
        if df is None and names is not None and (weighted := [one.name for one in wanted if one in _WEIGHTED]):
            raise UserError(
                f"{weighted[0]} needs a table of document frequencies (df); fit one with metrics.frequencies"
            )
        self.metrics = tuple(metric for metric in wanted if metric not in _WEIGHTED or df is not None)

    def values(self, captions: Sequence[Sequence[str]] | Batch) -> dict[Metric, Numbers]:
        """Return each metric's values, float64 [B]; nan where it is undefined, as all but length are for m = 1.

        Raises:
            UserError: images with different numbers of captions, or fewer than m.
        """
        if isinstance(captions, Batch):
            return self._of_batch(captions)
        step = max(1, _AT_ONCE // max(1, len(captions[0]))) if captions else 1
        parts = [self._of_batch(Batch.of(captions[start : start + step])) for start in range(0, len(captions), step)]
        if not parts:
            return {metric: np.zeros(0) for metric in self.metrics}
        return {metric: np.concatenate([part[metric] for part in parts]) for metric in self.metrics}

    def _of_batch(self, batch: Batch) -> dict[Metric, Numbers]:
        if batch.images and batch.m < self.m:
            raise UserError(f"metrics of {self.m} captions an image: these images have {batch.m}")
        if batch.m <= self.m:
            return {metric: self._value(metric, batch) for metric in self.metrics}
        exact = {metric: EXACT[metric](batch, self.m) for metric in self.metrics if metric in EXACT}
        parts = [batch.subset(chosen) for chosen in subsets(batch, self.m)]
        rest = {
            metric: _mean(self._value(metric, part) for part in parts) for metric in self.metrics if metric not in EXACT
        }
        return {metric: self._defined(metric, {**exact, **rest}[metric]) for metric in self.metrics}

    def _value(self, metric: Metric, batch: Batch) -> Numbers:
        if metric in _WEIGHTED:
            assert self._df is not None
            return self._defined(metric, eigen_diversity(_WEIGHTED[metric](batch, self._df)))
        return self._defined(metric, METRICS[metric](batch))

    def _defined(self, metric: Metric, values: Numbers) -> Numbers:
        if self.m == 1 and metric != LENGTH:
            return np.full(len(values), np.nan)
        for value in (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else ():
            metric.checked(float(value))
        return values


def _mean(parts: Iterable[Numbers]) -> Numbers:
    """Return each image's mean over the choices for which it is defined, [B]; nan where it is for none.

    Added one after the other: numpy's own sum adds in another order where there is but one image.
    """
    total, count = np.zeros(0), np.zeros(0)
    for part in parts:
        known = ~np.isnan(part)
        values = np.where(known, part, 0.0)
        total, count = (total + values, count + known) if len(total) else (values, known.astype(np.float64))
    return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0), dtype=np.float64)


class Sums:
    """Sums of per-image values: mean, spread and counts of any number of images; exact, whatever the order.

    Values are rounded to multiples of 2^-60 before they are added as whole numbers; those from 2^-8 on are whole so.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[int, int, int, int]] = {}
        """Metric name -> images with a value, images without, sum, sum of squares."""

    def add(self, values: Mapping[Metric, Numbers]) -> None:
        """Add a batch's values."""
        for metric, of_images in values.items():
            known = of_images[~np.isnan(of_images)]
            first, second = _whole(known), _whole(known * known)
            self._put(metric.name, (len(known), len(of_images) - len(known), first, second))

    def merge(self, other: "Sums") -> None:
        """Add the sums of other images."""
        for name, sums in other._sums.items():
            self._put(name, sums)

    def _put(self, name: str, more: tuple[int, int, int, int]) -> None:
        images, missing, first, second = self._sums.get(name, (0, 0, 0, 0))
        self._sums[name] = (images + more[0], missing + more[1], first + more[2], second + more[3])

    def names(self) -> list[str]:
        """Return what was added, sorted."""
        return sorted(self._sums)

    def images(self, name: str) -> int:
        """Return the number of images with a value."""
        return self._of(name)[0]

    def undefined(self, name: str) -> int:
        """Return the number of images without a value."""
        return self._of(name)[1]

    def mean(self, name: str) -> float:
        """Return the mean over images with a value; nan without one."""
        images, _, first, _ = self._of(name)
        return first / (images << _BITS) if images else float("nan")

    def deviation(self, name: str) -> float:
        """Return the standard deviation over images with a value (of a sample); nan for fewer than two."""
        images, _, first, second = self._of(name)
        if images < 2:
            return float("nan")
        # In whole numbers until here: nothing cancels.
        squares = (second * images << _BITS) - first * first
        return sqrt(max(0, squares) / (images * (images - 1) << 2 * _BITS))

    def _of(self, name: str) -> tuple[int, int, int, int]:
        if name not in self._sums:
            raise CaptionersError(f"no values of '{name}' were added; there are {', '.join(self.names()) or 'none'}")
        return self._sums[name]

    def to_bytes(self) -> bytes:
        """Return them as an npz file: the same sums give the same bytes."""
        rows = [" ".join([*map(str, self._sums[name]), name]) for name in self.names()]
        return pack({"sums": "\n".join(rows)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Sums":
        """Read what `to_bytes` gave.

        Raises:
            UserError: it is no such file.
        """
        found = cls()
        for row in text_of(unpack(data, "sums of metrics", "sums")["sums"]).splitlines():
            images, missing, first, second, name = row.split(" ", 4)
            found._sums[name] = (int(images), int(missing), int(first), int(second))
        return found


def _whole(values: Numbers) -> int:
    return sum(map(int, np.rint(np.ldexp(values, _BITS)).tolist()))
