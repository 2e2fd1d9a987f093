"""What an ablation has found so far, as the values that its page and exports are made of.

A number that depends on how many captions an image has is compared at one number of them: arms that have more are
rarefied to it, and their cells say so; the others stand at their own number.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from math import isnan
from statistics import mean

from captioners.decoding.values import Beam, Limits, Sample
from captioners.jobs.measure.cells import Cell as Measured
from captioners.jobs.measure.cells import MeasureRow
from captioners.jobs.probe.results import Trained
from captioners.jobs.recipes.ablate import AblateRecipe, Row
from captioners.jobs.recipes.arms import Drawing
from captioners.metrics import across_set, alignment, degenerate, faithfulness
from captioners.metrics.contrasts import Contrast as Tested
from captioners.metrics.contrasts import Declared, Result, contrasts
from captioners.metrics.correlations import correlations
from captioners.metrics.diversity import LENGTH, LENGTH_SPREAD
from captioners.metrics.metric import Metric
from captioners.metrics.registry import BUNDLE, REGISTRY, Needs
from captioners.report.ablation import Arm, Cell, Column, Contrast, Correlation, Group, Member, Saturation, Status

AT_OWN: tuple[Group, ...] = ("truth", "quality", "length", "across captioners")
"""Groups whose numbers stand at an arm's own number of captions."""
_LENGTH = (LENGTH.name, LENGTH_SPREAD.name)
_GROUPS: Mapping[Needs, Group] = {
    "captions": "within an image",
    "text encoder": "within an image",
    "several captioners": "across captioners",
    "references": "quality",
    "CLIP": "quality",
    "drawn scenes": "truth",
}


@dataclass
class Progress:
    """How far one arm is, and what is known of it."""

    row: Row
    status: Status = "missing"
    reason: str = ""
    seconds: float | None = None
    own: MeasureRow | None = None
    """At its own number of captions."""
    equal: MeasureRow | None = None
    """At that of all arms."""
    trained: list[Trained] = field(default_factory=list)
    """Its students."""

    @property
    def results(self) -> list[Result]:
        """Their numbers."""
        return [result for one in self.trained for result in one.results]


def group_of(metric: Metric) -> Group:
    """Return where a metric stands on the page."""
    if metric.name in _LENGTH:
        return "length"
    if metric in across_set.METRICS:
        return "across the set"
    known = REGISTRY.get(metric.name)
    if metric in degenerate.METRICS or known is None:
        return "quality"
    return _GROUPS[known.needs]


def columns(metrics: Iterable[Metric]) -> tuple[Column, ...]:
    """Return the heads of the table's columns."""
    return tuple(
        Column(
            name=one.name,
            unit=one.unit,
            better=one.better,
            group=group_of(one),
            default=one.name in BUNDLE,
            source=one.source,
            version=one.version,
        )
        for one in metrics
    )


def words_of(drawing: Drawing, plain: Sample | Beam) -> str:
    """Return how captions are decoded, in words, and what else they differ in from a recipe's plain decoding.

    >>> words_of(Drawing("a", Sample(top_p=0.9, min_tokens=1), 5, None, None), Sample(min_tokens=1))
    'top-p 0.9'
    """
    how = drawing.decoding
    if isinstance(how, Beam):
        kind = "greedy" if how.width == 1 else "diverse beam" if how.groups > 1 else "beam"
        said = [kind if how.width == 1 else f"{kind} {how.width}"]
    else:
        named = {"top-p": how.top_p, "top-k": how.top_k, "min-p": how.min_p}
        said = [f"{name} {value:g}" for name, value in named.items() if value is not None]
        said += [f"temperature {how.temperature:g}"] if how.temperature != 1 or not said else []
    said += [
        f"{name} {getattr(how, name)}" for name in Limits.model_fields if getattr(how, name) != getattr(plain, name)
    ]
    return ", ".join([*said, *([f"context {drawing.context_length}"] if drawing.context_length is not None else [])])


def arm_of(progress: Progress, metrics: Sequence[Metric]) -> Arm:
    """Return an arm's row of the table."""
    members = progress.row.members
    return Arm(
        name=progress.row.name,
        members=tuple(
            Member(captioner=one.trained, decoding=words_of(one, progress.row.plain), draws=one.draws)
            for one in members
        ),
        axes=progress.row.axes,
        status=progress.status,
        reason=progress.reason,
        m=progress.row.m or None,
        seconds=progress.seconds,
        cells={one.name: cell for one in metrics if (cell := _cell(progress, one)) is not None},
        probe=probe_of(progress.results),
    )


def _cell(progress: Progress, metric: Metric) -> Cell | None:
    own, equal = progress.own, progress.equal
    if own is None or metric.name not in own.cells:
        return None
    if group_of(metric) in AT_OWN or equal is None or own.m <= equal.m:
        return _as_cell(own.cells[metric.name])
    return _as_cell(equal.cells[metric.name], f"at {equal.m} of {own.m} captions")


def _as_cell(measured: Measured, said: str = "") -> Cell:
    one = measured.interval
    if one is None:
        return Cell(why=measured.why or "not measured")
    return Cell.of(one.value, one.low, one.high, one.count, "; ".join(filter(None, (measured.why, said))))


def probe_of(results: Iterable[Result]) -> dict[str, dict[str, dict[str, float]]]:
    """Return results by distillation weight, task and seed, as text."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for one in results:
        found.setdefault(f"{one.distillation:g}", {}).setdefault(one.task, {})[str(one.seed)] = one.value
    return found


def images_of(arms: Iterable[Progress]) -> Iterator[str]:
    """Yield how many images each arm was measured on, where not all were on equally many."""
    counts = {one.row.name: one.own.images for one in arms if one.own is not None}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} on {count:,}" for name, count in counts.items())
        yield f"Arms are measured on the images that each has captions of, and these are not the same: {said}."


def controls_of(trained: Iterable[Trained]) -> list[Arm]:
    """Return what the probe adds by itself, whose result is known beforehand."""
    by_name: dict[str, list[Result]] = {}
    for one in trained:
        by_name.setdefault(one.arm, []).extend(one.results)
    return [Arm(name=name, status="done", sanity=True, probe=probe_of(results)) for name, results in by_name.items()]


def unit_of(arms: Iterable[Arm]) -> str:
    """Return the unit of the probe's numbers: shares, or points of a hundred where most that another wrote are."""
    numbers = [
        value for arm in arms for tasks in arm.probe.values() for seeds in tasks.values() for value in seeds.values()
    ]
    return "points" if 2 * sum(value > 1 for value in numbers) > len(numbers) else "share"


def compared(recipe: AblateRecipe, arms: Iterable[Progress]) -> list[Tested]:
    """Return all that was declared, corrected together, also for what is still to come or failed."""
    there = list(arms)
    results = [result for one in there for result in one.results]
    probe, said = recipe.probe, recipe.declare
    if probe is None or not results:
        return []
    declared = Declared(
        primary=said.primary,
        contrasts=tuple(said.contrasts),
        margin=said.margin,
        seeds=tuple(probe.seeds),
        weights=tuple(probe.distillation_weights),
        arms=tuple(one.row.name for one in there),
    )
    return contrasts(results, declared)


def contrasts_of(tested: Iterable[Tested]) -> tuple[Contrast, ...]:
    """Return what the probe's statistics say, for the page."""
    return tuple(
        Contrast(
            arm=one.arm,
            against=one.against,
            task=one.task,
            distillation=f"{one.distillation:g}",
            seeds=len(one.seeds),
            missing=len(one.missing),
            difference=_number(one.difference),
            low=_number(one.low),
            high=_number(one.high),
            p=one.p,
            p_holm=one.p_holm,
            p_least=one.p_least,
            equivalent=None if one.p_same is None else one.p_same <= _LEVEL,
            primary=one.primary,
        )
        for one in tested
    )


_LEVEL = 0.05


def correlations_of(arms: Sequence[Arm], primary: str) -> tuple[Correlation, ...]:
    """Return how well each metric foretold the facts told and the primary task, over arms with captions."""
    captioned = [arm for arm in arms if arm.cells]
    names = dict.fromkeys(name for arm in captioned for name, cell in arm.cells.items() if cell.value is not None)
    numbers = {
        name: {arm.name: value for arm in captioned if (value := _value(arm, name)) is not None} for name in names
    }
    facts = faithfulness.COVERAGE.name
    outcomes = {facts: numbers[facts]} if facts in numbers else {}
    for weight in dict.fromkeys(weight for arm in captioned for weight in arm.probe):
        outcomes[f"{primary}, λ {weight}"] = {
            arm.name: mean(arm.probe[weight][primary].values())
            for arm in captioned
            if arm.probe.get(weight, {}).get(primary)
        }
    return tuple(
        Correlation(
            metric=one.metric,
            outcome=one.outcome,
            arms=one.arms,
            rho=_number(one.spearman),
            low=_number(one.low),
            high=_number(one.high),
        )
        for one in correlations(numbers, outcomes)
        if one.metric != one.outcome
    )


def saturation_of(found: Sequence[Progress], metrics: Sequence[Metric]) -> tuple[Saturation, ...]:
    """Return how numbers grow with captions an image, for arms that differ in nothing but that."""
    lines: dict[str, dict[int, MeasureRow]] = {}
    for one in found:
        if one.own is not None:
            who = " + ".join(f"{member.trained} {words_of(member, one.row.plain)}" for member in one.row.members)
            rules = one.row.axes.get("rules", "")
            lines.setdefault(f"{who}, {rules}" if rules else who, {})[one.own.m] = one.own
    return tuple(
        Saturation(
            name=name,
            metric=metric.name,
            points=tuple((m, _as_cell(rows[m].cells[metric.name])) for m in sorted(rows)),
        )
        for name, rows in lines.items()
        for metric in metrics
        if len(rows) > 1 and all(metric.name in row.cells for row in rows.values())
    )


def frontiers_of(arms: Sequence[Arm]) -> tuple[tuple[str, str], ...]:
    """Return pairs of a measure of diversity and one of truth, as far as both were measured."""
    names = {name for arm in arms for name, cell in arm.cells.items() if cell.value is not None}
    truths = (faithfulness.CLAIMS_TRUE.name, faithfulness.COVERAGE.name, alignment.CLIP_SCORE.name)
    return tuple((diverse, truth) for truth in truths if truth in names for diverse in _DIVERSE if diverse in names)


_DIVERSE = ("Self-CIDEr", "distinct-2", "mBLEU-4")


def made_by() -> str:
    """Return the version of the package."""
    return f"captioners {version('captioners')}"


def _value(arm: Arm, name: str) -> float | None:
    return arm.cells[name].value if name in arm.cells else None


def _number(value: float) -> float | None:
    return None if isnan(value) else value
