"""Students that must come out as known: if they do not, nothing else that the probe says can be trusted."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from captioners.jobs.probe.results import Trained
from captioners.jobs.probe.work import MANY, ONE, ORACLE, SHUFFLED
from captioners.jobs.recipes.probe import AVERAGE

NEAR_CHANCE = 0.05
"""How far above chance the average may be where there is nothing to learn."""


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
    if SHUFFLED in by_arm and chance.get(AVERAGE, 0) > 0:
        value, expected = _of(by_arm[SHUFFLED]), chance[AVERAGE]
        says = f"average {value:.3f}, and {expected:.3f} by chance"
        found.append(Check("captions of other pictures teach nothing", value - expected <= NEAR_CHANCE, says))
    if ORACLE in by_arm and AVERAGE in by_arm[ORACLE].values:
        of_arms: dict[str, list[float]] = {}
        for one in students:
            if one.arm in arms and one.distillation == 0.0:
                of_arms.setdefault(one.arm, []).append(_of(one))
        best = max(of_arms, key=lambda arm: fmean(of_arms[arm]), default="")
        if best:
            value, other = _of(by_arm[ORACLE]), fmean(of_arms[best])
            says = f"average {value:.3f}, and {other:.3f} of the best arm ({best})"
            found.append(Check("true captions of every manner are the ceiling", value >= other, says))
    return found


def _of(one: Trained) -> float:
    return one.values[AVERAGE]
