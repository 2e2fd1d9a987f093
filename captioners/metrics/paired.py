"""Did it get better? Two captioners on the same images: the difference, its interval, and YES, NO or CAN'T TELL.

A paired bootstrap over images: both sides are resampled with the same images, so what is hard for both cancels out.
Counter-based randomness (Philox) of a given seed alone. Percentile intervals are too short for few images, so their
ends are moved out as Student's t asks ("expanded percentile", Hesterberg 2015, arXiv 1411.5279, section 5.3).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import fsum, isnan, nan, sqrt
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captioners.core.errors import UserError
from captioners.metrics.metric import Better, Metric

RESAMPLES = 5000
FEWEST = 8
"""Images; fewer can't tell anything, whatever they say."""
_AT_ONCE = 1 << 22
"""Index entries held at a time: 32 MB."""

Verdict = Literal["YES", "NO", "CAN'T TELL"]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What changed between two captioners, by one metric."""

    metric: Metric
    before: float
    after: float
    low: float
    """The ends of the 95 % interval of after - before; nan where there is none."""
    high: float
    images: int
    """Images it rests on: those with a number on both sides."""

    @property
    def change(self) -> float:
        """How much it is: after - before."""
        return self.after - self.before

    @property
    def verdict(self) -> Verdict:
        """YES: better. NO: worse, or the same on every image. CAN'T TELL: the interval holds 0, or too few images."""
        if isnan(self.low) or self.metric.better == "neither":
            return "CAN'T TELL"
        if self.low == self.high == 0:
            return "NO"
        if self.images < FEWEST or self.low <= 0 <= self.high:
            return "CAN'T TELL"
        return "YES" if (self.low > 0) == (self.metric.better == "higher") else "NO"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON-able values; what is not defined is null."""
        numbers = {name: getattr(self, name) for name in ("before", "after", "change", "low", "high")}
        known = {name: None if isnan(value) else float(value) for name, value in numbers.items()}
        better: Better = self.metric.better
        return {"metric": self.metric.name, **known, "images": self.images, "better": better, "verdict": self.verdict}


def difference(
    metric: Metric, before: ArrayLike, after: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """Compare the means of one number per image, [B] and [B]; an image with nan on either side is left out of both."""
    one, other = (np.asarray(side, dtype=np.float64)[:, None] for side in (before, after))
    return difference_of_sums(
        metric, np.hstack([one, np.ones_like(one)]), np.hstack([other, np.ones_like(other)]), _mean,
        seed=seed, resamples=resamples,
    )  # fmt: skip


def difference_of_sums(
    metric: Metric,
    before: Numbers,
    after: Numbers,
    of: Callable[[Numbers], Numbers],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Difference:
    """Compare a number that is a function of sums over images, such as corpus BLEU.

    Args:
        metric: what is compared. before, after: what is summed, [B, F]; rows with nan on either side are left out.
        of: from sums [..., F] to numbers [...].

    Raises:
        UserError: the sides have different numbers of images.
    """
    if before.shape != after.shape:
        raise UserError(f"the same images are needed on both sides, not {len(before)} and {len(after)}")
    known = ~(np.isnan(before).any(axis=1) | np.isnan(after).any(axis=1))
    one, other = before[known], after[known]
    count = len(one)
    if not count:
        return Difference(metric=metric, before=nan, after=nan, low=nan, high=nan, images=0)
    values = [float(of(side.sum(axis=0))) for side in (one, other)]
    low, high = nan, nan
    if np.array_equal(one, other):
        low = high = 0.0  # exactly, whatever a matrix product makes of equal columns
    elif count > 1:
        sums = _resampled(np.hstack([one, other]), seed, resamples)
        found = of(sums[:, one.shape[1] :]) - of(sums[:, : one.shape[1]])
        low, high = _ends(found[~np.isnan(found)], count)
    return Difference(metric=metric, before=values[0], after=values[1], low=low, high=high, images=count)


def _mean(sums: Numbers) -> Numbers:
    return np.asarray(sums[..., 0] / sums[..., 1], dtype=np.float64)


def _resampled(values: Numbers, seed: int, resamples: int) -> Numbers:
    """Return the sums of every resample of the images, [B, F] -> [resamples, F]."""
    count = len(values)
    generator = np.random.Generator(np.random.Philox(key=seed))
    rows = max(1, _AT_ONCE // count)
    found = []
    for start in range(0, resamples, rows):
        chosen = generator.integers(0, count, size=(min(rows, resamples - start), count))
        times = np.stack([np.bincount(row, minlength=count) for row in chosen])
        found.append(times.astype(np.float64) @ values)
    return np.concatenate(found)


def _ends(found: Numbers, count: int) -> tuple[float, float]:
    if not len(found):
        return nan, nan
    tail = NormalDist().cdf(-sqrt(count / (count - 1)) * _student(count - 1))
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def _student(freedom: int) -> float:
    """Return Student's t at 97.5 %, by Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5).

    Right to 0.02 from 4 degrees of freedom on and to 0.001 from 7 on.
    """
    z = NormalDist().inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + fsum(term / freedom**power for power, term in enumerate(terms, 1))
