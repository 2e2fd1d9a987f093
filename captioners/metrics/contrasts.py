"""Do two arms of an experiment differ? Paired seeds, intervals, exact tests, and tests that they are the same.

A seed is one joint draw (weights, order, captions) that all arms share, so arms are compared seed by seed: Student's
interval of the mean difference, the exact sign-flip test (Fisher 1935), Holm's correction over what was declared
beforehand (1979), and two one-sided tests of equivalence (Schuirmann 1987) for "no difference": an interval that holds
0 is no evidence of it. Under 6 seeds there are intervals and no p-values: 5 cannot reach 0.05, whatever they say.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from math import isnan, nan, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captioners.core.errors import UserError

FEWEST = 6
"""Seeds; fewer have no p-value: 2 / 2**5 > 0.05."""
MOST = 40
"""Seeds that the exact test enumerates."""
LEVEL = 0.05
_ROUNDING = 1e-12

Verdict = Literal["higher", "lower", "no difference", "can't tell"]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number of one trained student."""

    arm: str
    seed: int
    task: str
    value: float
    """Higher is better."""
    distillation: float
    """The weight lambda of distillation that it was trained with."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What was said before the first result: only of this, p-values are corrected and conclusions drawn."""

    primary: str
    """The task that decides."""
    contrasts: tuple[tuple[str, str], ...] = ()
    """(arm, the arm that it is held against)."""
    margin: float = 0.02
    """Differences smaller than this count as none, in the task's unit."""
    seeds: tuple[int, ...] = ()
    """Those that count; results of others are left out. None: all that are there."""
    weights: tuple[float, ...] = ()
    """Of distillation, likewise."""
    arms: tuple[str, ...] = ()
    """All arms that there are, with results or still without. None: those with results."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """How much an arm differs from another on one task; p-values are None where there are fewer than 6 seeds."""

    task: str
    distillation: float
    arm: str
    against: str
    primary: bool
    """Whether its task was declared to decide; what others show asks for an experiment of its own."""
    seeds: tuple[int, ...]
    """Those with both arms."""
    missing: tuple[int, ...]
    """Seeds with only one of them, left out."""
    mean: float
    """Of the arm; nan without a seed, as `mean_against` and `difference`."""
    mean_against: float
    difference: float
    low: float
    """The ends of the 95 % interval of the mean difference; nan under 2 seeds."""
    high: float
    p: float | None
    """Of the two-sided sign-flip test of no difference."""
    p_holm: float | None
    """The same, corrected for all declared contrasts of its task, at all weights of distillation, measured or not."""
    p_least: float | None
    """The smallest `p_holm` that so many seeds could have given: above 0.05, no result could have been significant."""
    p_same: float | None
    """Of the test that the difference is beyond the margin: small means it is within."""
    margin: float

    @property
    def verdict(self) -> Verdict:
        """What may be concluded at 5 %: by the test after correction and the interval; of equivalence, uncorrected."""
        if self.p_holm is not None and self.p_holm <= LEVEL and not self.low <= 0 <= self.high:
            return "higher" if self.difference > 0 else "lower"
        return "no difference" if self.p_same is not None and self.p_same <= LEVEL else "can't tell"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON-able values, with its verdict; what is not defined is null."""
        said = {name: None if _undefined(value) else value for name, value in asdict(self).items()}
        return {**said, "seeds": list(self.seeds), "missing": list(self.missing), "verdict": self.verdict}


def contrasts(results: Sequence[Result], declared: Declared) -> list[Contrast]:
    """Return every declared contrast on every task, the primary one first, for each weight of distillation.

    One that lacks results is corrected for like the others: an arm that failed makes no p-value smaller. On tasks other
    than the primary one, it is left out after that.

    Raises:
        UserError: a seed of an arm has two numbers for one task, or a contrast names an unknown arm.
    """
    table = _table(results, declared)
    known = dict.fromkeys(declared.arms or (result.arm for result in results))
    for arm in dict.fromkeys(arm for pair in declared.contrasts for arm in pair):
        if arm not in known:
            raise UserError(f"contrasts: no result is of an arm {arm!r}; there are {', '.join(known) or 'none'}")
    tasks = dict.fromkeys((declared.primary, *(result.task for result in results)))
    weights = sorted(declared.weights or {result.distillation for result in results})
    found = [
        _contrast(table, task, weight, pair, declared)
        for task in tasks
        for weight in weights
        for pair in declared.contrasts
    ]
    return [one for one in _corrected(found) if one.seeds or one.primary]


def sign_flip(differences: ArrayLike) -> float:
    """Return the exact two-sided p of paired differences: the share of all 2**n sign changes with as large a mean.

    Raises UserError above 40 differences.

    >>> sign_flip([1.0, 2.0, 3.0])
    0.25
    """
    values = np.abs(np.asarray(differences, dtype=np.float64))
    if len(values) > MOST:
        raise UserError(f"sign-flip test: {len(values)} seeds; it enumerates at most {MOST}, so name fewer")
    observed = abs(float(np.sum(np.asarray(differences, dtype=np.float64))))
    # A sum of all is one of each half: 2**(n/2) sums in order, and not 2**n.
    half = len(values) // 2
    one, other = _sums(values[:half]), np.sort(_sums(values[half:]))
    least = observed - _ROUNDING * float(values.sum())
    above = len(other) - np.searchsorted(other, least - one, side="left")
    # Of each sum there is the opposite one; at an observed 0 all are as far away.
    return 1.0 if least <= 0 else float(2 * above.sum() / 2 ** len(values))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in their order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order, found, largest = np.argsort(p_values, kind="stable"), list(p_values), 0.0
    for place, at in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[at]))
        found[at] = largest
    return found


def t_interval(differences: ArrayLike) -> tuple[float, float]:
    """Return the ends of Student's 95 % interval of the mean; nan for fewer than 2 numbers."""
    from scipy.stats import t

    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return nan, nan
    half = float(t.ppf(0.975, len(values) - 1)) * float(values.std(ddof=1)) / sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def equivalence(differences: ArrayLike, margin: float) -> float:
    """Return the p of two one-sided t-tests (the larger) that the mean difference lies beyond -margin..margin.

    nan for fewer than 2 numbers; 0 or 1 where all are equal.
    """
    from scipy.stats import t

    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return nan
    mean, error = float(values.mean()), float(values.std(ddof=1)) / sqrt(len(values))
    room = margin - abs(mean)
    if error <= _ROUNDING * (margin + abs(mean)):
        return 0.0 if room > 0 else 1.0
    return float(t.sf(room / error, len(values) - 1))


def _sums(values: Numbers) -> Numbers:
    """Return the sums of all sign changes, [2**n]."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


_Table = dict[tuple[str, float, str], dict[int, float]]
"""(task, distillation, arm) -> seed -> value."""


def _table(results: Sequence[Result], declared: Declared) -> _Table:
    table: _Table = {}
    for one in results:
        if isnan(one.value):  # equal to nothing, also not to itself
            continue
        of_arm = table.setdefault((one.task, one.distillation, one.arm), {})
        if of_arm.get(one.seed, one.value) != one.value:
            both = f"{of_arm[one.seed]:g} and {one.value:g}"
            raise UserError(f"results: seed {one.seed} of arm {one.arm} has two numbers for {one.task}: {both}")
        if not declared.seeds or one.seed in declared.seeds:
            of_arm[one.seed] = one.value
    return table


def _contrast(table: _Table, task: str, weight: float, pair: tuple[str, str], declared: Declared) -> Contrast:
    arm, against = (table.get((task, weight, name), {}) for name in pair)
    seeds = tuple(sorted(arm.keys() & against.keys()))
    one, other = (np.array([side[seed] for seed in seeds]) for side in (arm, against))
    differences = one - other
    low, high = t_interval(differences)
    tested = len(seeds) >= FEWEST
    return Contrast(
        task=task, distillation=weight, arm=pair[0], against=pair[1], primary=task == declared.primary,
        seeds=seeds, missing=tuple(sorted(arm.keys() ^ against.keys())), margin=declared.margin,
        mean=float(one.mean()) if seeds else nan, mean_against=float(other.mean()) if seeds else nan,
        difference=float(differences.mean()) if seeds else nan, low=low, high=high,
        p=sign_flip(differences) if tested else None, p_holm=None, p_least=None,
        p_same=equivalence(differences, declared.margin) if tested else None,
    )  # fmt: skip


def _corrected(found: Sequence[Contrast]) -> list[Contrast]:
    """Correct each task's contrasts for their number, also for those that lack seeds: they were declared, too."""
    done = []
    for _, family in groupby(found, lambda one: one.task):
        declared = list(family)
        corrected = holm([1.0 if one.p is None else one.p for one in declared])
        for one, p in zip(declared, corrected, strict=True):
            least = min(1.0, len(declared) * 2 / 2 ** len(one.seeds))
            done.append(one if one.p is None else replace(one, p_holm=p, p_least=least))
    return done


def _undefined(value: Any) -> bool:
    return isinstance(value, float) and isnan(value)
