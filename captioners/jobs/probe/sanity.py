"""Students that must come out as known: if they do not, nothing else that the probe says can be trusted."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from captioners.jobs.probe.results import Trained
from captioners.jobs.probe.work import MANY, ONE, ORACLE, SHUFFLED
from captioners.jobs.recipes.probe import AVERAGE

NEAR_CHANCE = 0.05
"""How far above chance the average may be where there is nothing to learn."""
CLEARLY_BELOW = 0.5
"""The most of what the best arm has above chance that may be there, too."""


@dataclass(frozen=True)
class Check:
    """What had to be, and whether it is."""

    name: str
    holds: bool
    says: str


def checks_of(trained: Iterable[Trained], arms: Collection[str], chance: Mapping[str, float]) -> list[Check]:
    """Return the checks whose students are there; who is none of the arms is a control."""
    students = list(trained)
    by_arm = {one.arm: one for one in students if one.arm not in arms}
    found = []
    if ONE in by_arm and MANY in by_arm:
        one, many = by_arm[ONE], by_arm[MANY]
        same = one.weights == many.weights and one.values == many.values
        says = f"weights {one.weights} and {many.weights}"
        found.append(Check("copies of one caption are as good as it alone, bit for bit", same, says))
    best = _best(students, arms)
    if SHUFFLED in by_arm and chance.get(AVERAGE, 0) > 0:
        found.append(_nothing_learnt(_of(by_arm[SHUFFLED]), chance[AVERAGE], best))
    if ORACLE in by_arm and AVERAGE in by_arm[ORACLE].values and best is not None:
        value, (arm, other) = _of(by_arm[ORACLE]), best
        says = f"average {value:.3f}, and {other:.3f} of the best arm ({arm})"
        found.append(Check("true captions of every manner are the ceiling", value >= other, says))
    return found


def _nothing_learnt(value: float, chance: float, best: tuple[str, float] | None) -> Check:
    """Hold a student of other pictures' captions against chance, and against the best arm where that is above it.

    Near chance alone would pass a leak where the arms themselves learn little: a shuffled student at 0.14 beside arms
    at 0.15, with 0.10 by chance. Where no arm is above chance, none can tell, and chance alone decides.
    """
    says, most = f"average {value:.3f}, and {chance:.3f} by chance", NEAR_CHANCE
    if best is not None:
        arm, other = best
        says += f", {other:.3f} of the best arm ({arm})"
        if other - chance > NEAR_CHANCE:
            most = min(most, CLEARLY_BELOW * (other - chance))
    return Check("captions of other pictures teach nothing", value - chance <= most, says)


def _best(students: Iterable[Trained], arms: Collection[str]) -> tuple[str, float] | None:
    """Return the arm whose students come to most without distillation, as controls are trained, with their mean."""
    of_arms: dict[str, list[float]] = {}
    for one in students:
        if one.arm in arms and one.distillation == 0.0 and AVERAGE in one.values:
            of_arms.setdefault(one.arm, []).append(_of(one))
    means = {arm: fmean(values) for arm, values in of_arms.items()}
    return max(means.items(), key=lambda one: one[1], default=None)


def _of(one: Trained) -> float:
    return one.values[AVERAGE]
