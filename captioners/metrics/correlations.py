"""Which metric of captions foretold what students gained: rank correlations over the arms of an experiment."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from math import isnan, nan, sqrt
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """How well a metric of captions foretold the gain of the arms."""

    metric: str
    outcome: str
    spearman: float
    """Rank correlation, -1..1; nan for fewer than 3 arms, or where all are equal."""
    low: float
    """The ends of its 95 % interval; nan under 4 arms."""
    high: float
    arms: int

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON-able values; what is not defined is null."""
        return {
            name: None if isinstance(value, float) and isnan(value) else value for name, value in asdict(self).items()
        }


def correlations(
    metrics: Mapping[str, Mapping[str, float]], outcomes: Mapping[str, Mapping[str, float]]
) -> list[Correlation]:
    """Return the correlation of every metric with every outcome over the arms that have both; nan is left out.

    Args:
        metrics, outcomes: name -> arm -> number.
    """
    return [
        _correlation(metric, outcome, metrics[metric], outcomes[outcome])
        for metric, outcome in product(metrics, outcomes)
    ]


def _correlation(metric: str, outcome: str, one: Mapping[str, float], other: Mapping[str, float]) -> Correlation:
    from scipy.stats import rankdata

    arms = [arm for arm in one if arm in other and not (isnan(one[arm]) or isnan(other[arm]))]
    ranks = [rankdata([side[arm] for arm in arms]) for side in (one, other)]
    value, low, high = nan, nan, nan
    if len(arms) > 2 and all(np.ptp(rank) for rank in ranks):
        value = float(np.clip(np.corrcoef(*ranks)[0, 1], -1, 1))
        low, high = _fisher(value, len(arms))
    return Correlation(metric=metric, outcome=outcome, spearman=value, low=low, high=high, arms=len(arms))


def _fisher(value: float, count: int) -> tuple[float, float]:
    """Return the ends of the interval by Fisher's z with the error of Bonett and Wright (2000).

    A perfect order would have the interval 1..1; its end is that of the order with one neighbouring pair swapped.
    """
    if count < 4:
        return nan, nan
    nearly = 1 - 12 / (count * (count**2 - 1))
    inside = float(np.clip(value, -nearly, nearly))
    half = 1.959963984540054 * sqrt((1 + inside**2 / 2) / (count - 3))
    low, high = float(np.tanh(np.arctanh(inside) - half)), float(np.tanh(np.arctanh(inside) + half))
    return (-1.0 if value <= -1 else low), (1.0 if value >= 1 else high)
