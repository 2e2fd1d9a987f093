"""An ablation as tables of numbers, one CSV each: cells, results seed by seed, contrasts, and what each figure shows.

Numbers are those of `ablation.json`, not rounded; shares are not percent. An empty field is an undefined number.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from captioners.report.ablation import Ablation, Cell, Contrast
from captioners.report.ablation_table import about, distillations, on_images, primary_task

Value = str | int | float | None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A figure's numbers: what it draws, and nothing else."""

    name: str
    """Of its files."""
    kind: str
    """frontier, saturation, probe, contrasts, overlap, added."""
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]

    @property
    def text(self) -> str:
        """The CSV."""
        return as_csv(self.columns, self.rows)


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    """Return a table as CSV (RFC 4180, but for lines that end in a newline); None is an empty field."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue()


def tables(found: Ablation) -> dict[str, str]:
    """Return name -> CSV of everything but the gallery."""
    made = {
        "arms.csv": as_csv(
            ("arm", "status", "reason", "control", "m", "seconds", "members"),
            ((arm.name, arm.status, arm.reason, int(arm.sanity), arm.m, arm.seconds, about(arm)) for arm in found.arms),
        ),
        "cells.csv": as_csv(
            ("arm", "metric", "value", "low", "high", "images", "why"),
            (
                (arm.name, name, *_numbers(cell), cell.count, cell.why)
                for arm in found.arms
                for name, cell in arm.cells.items()
            ),
        ),
        "results.csv": as_csv(
            ("arm", "seed", "task", "distillation", "value"),
            (
                (arm.name, seed, task, weight, value)
                for arm in found.arms
                for weight, tasks in arm.probe.items()
                for task, seeds in tasks.items()
                for seed, value in seeds.items()
            ),
        ),
        "contrasts.csv": as_csv(
            ("arm", "against", "task", "distillation", "primary", "seeds", "difference", "low", "high", "p", "p_holm"),
            (
                (c.arm, c.against, c.task, c.distillation, int(c.primary), c.seeds, *_estimate(c), c.p, c.p_holm)
                for c in found.contrasts
            ),
        ),
        "correlations.csv": as_csv(
            ("metric", "outcome", "arms", "rho", "low", "high"),
            ((c.metric, c.outcome, c.arms, c.rho, c.low, c.high) for c in found.correlations),
        ),
    }
    return made | {f"figures/{figure.name}.csv": figure.text for figure in figures(found)}


def figures(found: Ablation) -> list[Figures]:
    """Return the numbers of every figure that has any."""
    made = [*_frontiers(found), *_saturation(found), *_probe(found), *_contrasts(found), *_overlap(found)]
    return [figure for figure in (*made, *_added(found)) if figure.rows]


def _frontiers(found: Ablation) -> list[Figures]:
    made = []
    for across, upward in found.frontiers:
        rows: list[Sequence[Value]] = []
        for place, arm in enumerate(found.arms, 1):
            x, y = arm.cells.get(across), arm.cells.get(upward)
            if x is not None and y is not None and x.value is not None and y.value is not None:
                rows.append((place, arm.name, *_numbers(x), *_numbers(y)))
        columns = ("number", "arm", across, "low", "high", upward, "low", "high")
        name = f"frontier-{slug(upward)}-{slug(across)}"
        title = f"{upward} against {across}"
        made.append(Figures(name=name, kind="frontier", title=title, columns=columns, rows=rows))
    return made


def _saturation(found: Ablation) -> list[Figures]:
    made = []
    for metric in dict.fromkeys(curve.metric for curve in found.saturation):
        rows = [
            (curve.name, m, *_numbers(cell))
            for curve in found.saturation
            if curve.metric == metric
            for m, cell in curve.points
            if cell.value is not None
        ]
        columns = ("captions of", "m", metric, "low", "high")
        title = f"{metric} by captions an image"
        made.append(
            Figures(name=f"saturation-{slug(metric)}", kind="saturation", title=title, columns=columns, rows=rows)
        )
    return made


def _probe(found: Ablation) -> list[Figures]:
    task = primary_task(found)
    return [
        Figures(
            name=f"probe-{slug(task)}-{slug(weight)}",
            kind="probe",
            title=f"{task}, λ {weight}",
            columns=("arm", "seed", task),
            rows=[
                (arm.name, seed, value)
                for arm in found.arms
                for seed, value in arm.probe.get(weight, {}).get(task, {}).items()
            ],
        )
        for weight in distillations(found)
    ]


def _contrasts(found: Ablation) -> list[Figures]:
    rows = [
        (f"{c.arm} - {c.against}", c.task, c.distillation, c.difference, c.low, c.high)
        for c in found.contrasts
        if c.primary and c.difference is not None
    ]
    columns = ("contrast", "task", "distillation", "difference", "low", "high")
    return [Figures(name="contrasts", kind="contrasts", title="Declared contrasts", columns=columns, rows=rows)]


def _overlap(found: Ablation) -> list[Figures]:
    return [
        Figures(
            name=f"overlap-{slug(one.title)}",
            kind="overlap",
            title=on_images(one.title, [one.images]),
            columns=("captioner", "other", one.title, "images"),
            rows=[
                (name, other, value, one.images)
                for name, row in zip(one.captioners, one.values, strict=True)
                for other, value in zip(one.captioners, row, strict=True)
            ],
        )
        for one in found.overlap
    ]


def _added(found: Ablation) -> list[Figures]:
    return [
        Figures(
            name=f"added-{slug(metric)}",
            kind="added",
            title=on_images(
                f"{metric}: what each captioner adds",
                [one.changes[metric].count for one in found.adds if metric in one.changes],
            ),
            columns=("arm", "captioner", metric, "low", "high", "images"),
            rows=[
                (one.arm, one.captioner, *_numbers(one.changes[metric]), one.changes[metric].count or None)
                for one in found.adds
                if metric in one.changes and one.changes[metric].value is not None
            ],
        )
        for metric in dict.fromkeys(metric for one in found.adds for metric in one.changes)
    ]


def slug(text: str) -> str:
    """Return a text as part of a file's name.

    >>> slug("Avg-S, λ 0"), slug("self-retrieval R@1")
    ('avg-s-0', 'self-retrieval-r-1')
    """
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())
    return "-".join(part for part in kept.split("-") if part) or "x"


def _estimate(one: Contrast) -> tuple[Value, Value, Value]:
    return one.difference, one.low, one.high


def _numbers(cell: Cell) -> tuple[Value, Value, Value]:
    return cell.value, cell.low, cell.high
