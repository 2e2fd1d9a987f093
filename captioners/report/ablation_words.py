"""What an ablation's numbers mean, in words: better, worse, no difference, can't tell; what a metric foretold."""

from collections.abc import Sequence
from dataclasses import dataclass

from captioners.report.ablation import Ablation, Contrast, Correlation
from captioners.report.ablation_table import difference, number, primary_task

SIGNIFICANT = 0.05
MOST_ANSWERS = 8


def finding(contrast: Contrast) -> str:
    """Say what a contrast found; nothing is claimed that its interval does not carry.

    Nothing is said to be better or worse that Holm's correction takes back, or whose interval holds 0; "no difference"
    needs the equivalence test, whose p-values are not corrected.
    """
    if contrast.difference is None:
        return "not measured yet"
    if contrast.low is None or contrast.high is None:
        return "can't tell: one seed has no interval"
    return _within(contrast, contrast.difference, contrast.low, contrast.high)


def _within(contrast: Contrast, difference: float, low: float, high: float) -> str:
    which = "better" if difference > 0 else "worse"
    if contrast.p_holm is not None and contrast.p_holm <= SIGNIFICANT and not low <= 0 <= high:
        return f"{which}, by less than the margin" if contrast.equivalent else which
    if contrast.equivalent:
        return "no difference that matters"
    if contrast.p_least is not None and contrast.p_least > SIGNIFICANT:
        return f"can't tell: {contrast.seeds} seeds are too few for so many tests"
    if low <= 0 <= high:
        return "can't tell"
    if contrast.p_holm is None:
        return f"{which} by its interval, too few seeds to test"
    return f"{which} by its interval, not after Holm's correction"


def p_value(p: float | None) -> str:
    """Return a p-value as it is printed."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def sentence(contrast: Contrast, unit: str) -> str:
    """Return a contrast in one line."""
    points = "points" if unit == "share" else unit
    if contrast.difference is None:
        return f"{contrast.arm} against {contrast.against} at λ {contrast.distillation}: not measured yet"
    p = f", p {p_value(contrast.p_holm)} after Holm" if contrast.p_holm is not None else ""
    seeds = f"{contrast.seeds} paired seed{'' if contrast.seeds == 1 else 's'}"
    return (
        f"{contrast.arm} against {contrast.against}: {finding(contrast)}: {difference(contrast, unit)} {points} of "
        f"{contrast.task} at λ {contrast.distillation} ({seeds}{p})"
    )


def summary(found: Ablation) -> str:
    """Say where the ablation is, in one sentence."""
    asked = [arm for arm in found.arms if not arm.sanity]
    counts = {status: sum(arm.status == status for arm in asked) for status in ("done", "failed", "missing")}
    parts = [f"{counts['done']} measured"]
    parts += [f"{counts['failed']} failed"] if counts["failed"] else []
    parts += [f"{counts['missing']} still to come"] if counts["missing"] else []
    arms = len(asked)
    about = f"{arms} arm{'' if arms == 1 else 's'}: {', '.join(parts)}."
    declared = found.declared
    if declared is None:
        task = primary_task(found)
        return about + (f" Nothing was declared beforehand; the probe's first task is {task}." if task else "")
    margin = number(declared.margin, found.task_unit)
    return (
        f"{about} Declared beforehand: {declared.task} at λ {' and '.join(declared.distillation.split(', '))}; "
        f"{len(declared.contrasts)} contrast{'' if len(declared.contrasts) == 1 else 's'} over {declared.seeds} paired "
        f"seeds, a margin of ±{margin}{' points' if found.task_unit == 'share' else ''}."
    )


def answers(found: Ablation) -> list[str]:
    """Return the first of the primary contrasts as sentences, nulls included, and how many more there are."""
    told = [sentence(contrast, found.task_unit) for contrast in found.contrasts if contrast.primary]
    more = len(told) - MOST_ANSWERS
    return told if more <= 0 else [*told[:MOST_ANSWERS], f"and {more} more, below"]


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """What one metric foretold."""

    metric: str
    rho: str
    """With its interval."""
    arms: int
    verdict: str


def foretold(found: Ablation) -> list[tuple[str, Sequence[Foretold]]]:
    """Return outcome -> metrics with what they foretold of it, those that foretold most first."""
    better = {column.name: column.better for column in found.columns}
    outcomes = list(dict.fromkeys(correlation.outcome for correlation in found.correlations))
    made: list[tuple[str, Sequence[Foretold]]] = []
    for outcome in outcomes:
        of = [c for c in found.correlations if c.outcome == outcome]
        of.sort(key=lambda c: (c.rho is None, -abs(c.rho or 0.0), c.metric))
        rows = [
            Foretold(
                metric=one.metric,
                rho=_rho(one),
                arms=one.arms,
                verdict=_verdict(one, better.get(one.metric, "neither")),
            )
            for one in of
        ]
        made.append((outcome, rows))
    return made


def _rho(one: Correlation) -> str:
    if one.rho is None:
        return "–"
    text = f"{one.rho:+.2f}"
    if one.low is not None and one.high is not None:
        text += f" [{one.low:+.2f}, {one.high:+.2f}]"
    return text.replace("-", "−")


def _verdict(one: Correlation, better: str) -> str:
    if one.rho is None:
        return "can't tell: one of both does not vary"
    if one.low is None or one.high is None:
        return "can't tell: too few arms for an interval"
    if one.low <= 0 <= one.high:
        return "not shown to foretell it: the interval holds 0"
    if better == "neither":
        return "rose with it" if one.rho > 0 else "fell as it rose"
    right = (one.rho > 0) == (better == "higher")
    return "foretold it" if right else "foretold the opposite"
