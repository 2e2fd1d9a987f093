"""The page of an ablation: one file that opens from disk, and everything on it in words as well as in drawings.

A valid page from the first arm on: what is not there yet is said, and a section without anything to say is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from captioners.report.ablation import Ablation, Cell, Contrast, Overlap
from captioners.report.ablation_drawings import Bar, bars, frontiers, saturation, strips
from captioners.report.ablation_table import (
    DASH,
    Shown,
    difference,
    distillations,
    images,
    number,
    on_images,
    primary_task,
    shown_seeds,
    table,
    unmeasured,
)
from captioners.report.ablation_words import answers, finding, foretold, p_value, summary
from captioners.report.html import render_page


@dataclass(frozen=True, kw_only=True)
class Probed:
    """One arm's results at one distillation weight."""

    place: int
    """Its number."""
    name: str
    sanity: bool
    dots: Sequence[float]
    """Where each seed's primary result stands, 0..100 along the strip."""
    mean: float | None
    cells: Sequence[Shown]
    """One a task."""


@dataclass(frozen=True, kw_only=True)
class Weight:
    """The probe at one distillation weight."""

    name: str
    low: str
    """The ends of the strips."""
    high: str
    rows: Sequence[Probed]


@dataclass(frozen=True, kw_only=True)
class Held:
    """A contrast as it is printed."""

    contrast: Contrast
    difference: str
    p: str
    p_holm: str
    finding: str
    bar: Bar | None


@dataclass(frozen=True, kw_only=True)
class AddedBy:
    """What one captioner adds to an arm, as it is printed."""

    arm: str
    captioner: str
    images: str
    """How many it rests on."""
    cells: Sequence[Shown]


@dataclass(frozen=True, kw_only=True)
class Heat:
    """One field of a heat map."""

    shade: int | None
    """0..10; None where nothing is measured."""
    text: str


def render_ablation(found: Ablation) -> str:
    """Return the page as HTML text."""
    return render_page(
        "ablation.html.j2",
        "ablation.js",
        style="ablation.css",
        page=found,
        summary=summary(found),
        answers=answers(found),
        table=table(found),
        frontiers=frontiers(found),
        saturation=saturation(found),
        unmeasured=unmeasured(found),
        task=primary_task(found),
        tasks=_tasks(found),
        probe=[_weight(found, weight) for weight in distillations(found)],
        held=held([contrast for contrast in found.contrasts if contrast.primary], found),
        others=held([contrast for contrast in found.contrasts if not contrast.primary], found),
        margin="" if found.declared is None else number(found.declared.margin, found.task_unit),
        added=_added(found),
        added_metrics=_added_metrics(found),
        heat=[(on_images(one.title, [one.images]), one.captioners, _heat(one)) for one in found.overlap],
        foretold=foretold(found),
        numbers={arm.name: place for place, arm in enumerate(found.arms, 1)},
        spoken=[arm.name for arm in found.arms if any(arm.name in seen.captions for seen in found.gallery)],
    )


def held(contrasts: Sequence[Contrast], found: Ablation) -> list[Held]:
    """Return contrasts as they are printed, their bars on one scale."""
    margin = found.declared.margin if found.declared is not None else None
    return [
        Held(
            contrast=one,
            difference=difference(one, found.task_unit),
            p=p_value(one.p),
            p_holm=p_value(one.p_holm),
            finding=finding(one),
            bar=bar,
        )
        for one, bar in zip(contrasts, bars(contrasts, margin), strict=True)
    ]


def _tasks(found: Ablation) -> list[str]:
    """Return the probe's tasks, the primary one first."""
    seen = [task for arm in found.arms for results in arm.probe.values() for task in results]
    return list(dict.fromkeys(task for task in (primary_task(found), *found.tasks, *seen) if task in seen))


def _weight(found: Ablation, weight: str) -> Weight:
    arms = [(place, arm) for place, arm in enumerate(found.arms, 1) if arm.probe.get(weight)]
    primary = [arm.probe[weight].get(primary_task(found), {}) for _, arm in arms]
    low, high, dots, means = strips(primary, found.task_unit)
    rows = [
        Probed(
            place=place,
            name=arm.name,
            sanity=arm.sanity,
            dots=seen,
            mean=mean,
            cells=[shown_seeds(arm.probe[weight].get(task, {}), found.task_unit) for task in _tasks(found)],
        )
        for (place, arm), seen, mean in zip(arms, dots, means, strict=True)
    ]
    return Weight(name=weight, low=low, high=high, rows=rows)


def _added_metrics(found: Ablation) -> list[tuple[str, str]]:
    """Return the metrics whose changes are known, each with the unit of its changes."""
    units = {column.name: "points" if column.unit == "share" else column.unit for column in found.columns}
    names = dict.fromkeys(metric for one in found.adds for metric in one.changes)
    return [(name, units.get(name, "")) for name in names]


def _added(found: Ablation) -> list[AddedBy]:
    units = {column.name: column.unit for column in found.columns}
    metrics = _added_metrics(found)
    return [
        AddedBy(
            arm=one.arm,
            captioner=one.captioner,
            images=images(cell.count for cell in one.changes.values()) or DASH,
            cells=[_change(one.changes.get(metric), units.get(metric, "")) for metric, _ in metrics],
        )
        for one in found.adds
    ]


def _change(cell: Cell | None, unit: str) -> Shown:
    if cell is None or cell.value is None:
        return Shown(text=DASH)
    low, high = cell.low, cell.high
    ends = (
        "" if low is None or high is None else f"[{number(low, unit, signed=True)}, {number(high, unit, signed=True)}]"
    )
    return Shown(text=number(cell.value, unit, signed=True), ends=ends, value=cell.value)


def _heat(overlap: Overlap) -> list[list[Heat]]:
    return [
        [
            Heat(shade=None, text=DASH)
            if value is None
            else Heat(shade=max(0, min(10, round(10 * value))), text=f"{value:.2f}")
            for value in row
        ]
        for row in overlap.values
    ]
