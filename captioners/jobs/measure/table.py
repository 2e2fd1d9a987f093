"""Measure caption sets side by side: at equal numbers of captions, on the same images, each number with its interval.

What is measured of each image lies in the run, so a second call is quick, and a run that went on has little to do.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import isnan, nan
from typing import TYPE_CHECKING

import numpy as np

from captioners.data.caption_sets import CaptionSet
from captioners.jobs.measure.cell import intervals
from captioners.jobs.measure.cells import Cell, MeasureRow, MeasureTable
from captioners.jobs.measure.gauge import IMAGE, Shown, column, ids_of
from captioners.jobs.measure.measured import Measured
from captioners.jobs.recipes.measure import MeasureOptions
from captioners.metrics.across_set import BUDGET, AcrossSet
from captioners.metrics.alignment import CLIP_SCORE, REF_CLIP_SCORE, SELF_RETRIEVAL
from captioners.metrics.diversity import LENGTH
from captioners.metrics.intervals import Interval
from captioners.metrics.metric import Metric
from captioners.metrics.references import BLEU_4, CIDER_D, ROUGE_L

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Cell", "MeasureOptions", "MeasureRow", "MeasureTable", "measure_sets"]

_ONE = "one caption an image"
_NEEDS: Mapping[str, tuple[Metric, ...]] = {
    "--references SOURCE": (CIDER_D, BLEU_4, ROUGE_L),
    "--clip NAME": (CLIP_SCORE, REF_CLIP_SCORE, SELF_RETRIEVAL),
}

Cells = dict[Metric, Cell]


def measure_sets(
    sets: Sequence[CaptionSet], options: MeasureOptions, say: Callable[[str], None] = lambda _: None
) -> MeasureTable:
    """Return the table of these sets.

    Args:
        sets: each a row. options: what is measured. say: told how far it is.

    Raises:
        UserError: sets of different images (it counts the shared ones; `common` takes those), a judge that has the
            image tower of a captioner it would judge, references or a judge that cannot be had.
        InterruptedRunError: stopped; what is measured stays, and the same call goes on.
    """
    measured = Measured(sets, options, say)
    measured.measure()
    numbers = range(len(sets))
    cells = [_cells(measured, number) for number in numbers]
    for row, more in zip(cells, _across(measured), strict=True):
        row.update(more)
    lacking = {} if options.references else dict.fromkeys(_NEEDS["--references SOURCE"], "needs --references SOURCE")
    lacking |= {} if options.clip else dict.fromkeys(_NEEDS["--clip NAME"], "needs --clip NAME")
    metrics = tuple(dict.fromkeys([*(metric for row in cells for metric in row), *lacking]))
    rows = tuple(
        MeasureRow(
            name=one.name,
            m=one.m,
            images=measured.count(number),
            cells={metric.name: cells[number].get(metric) or _none(lacking.get(metric)) for metric in metrics},
        )
        for number, one in enumerate(measured.opened)
    )
    return MeasureTable(
        rows=rows,
        metrics=metrics,
        notes=_notes(measured, rows, lacking),
        stamp=measured.stamp,
        images=lambda: (_images(measured, number, metrics) for number in numbers),
    )


def _none(why: str | None) -> Cell:
    return Cell(interval=None, why=why or "not known of these images")


def _cells(measured: Measured, number: int) -> Cells:
    """Return the cells of a row that rest on a number for each image."""
    found: Cells = {}
    m = measured.opened[number].m
    for gauge in measured.gauges(number):
        shown = measured.shown(gauge)
        if not shown:
            continue
        table = measured.found(number, gauge)
        columns = {name: column(table, name) for one in shown for name in one.columns}
        values = intervals(shown, columns, ids_of(table), measured.options.seed)
        for one in shown:
            interval = values[one.metric.name]
            why = _ONE if m == 1 and gauge.name == "within" else "undefined for every image"
            found[one.metric] = _none(why) if isnan(interval.value) else Cell(interval=interval)
    return found


def _across(measured: Measured) -> list[Cells]:
    """Return the cells of each row that are one number of the whole set, at the words of the smallest one."""
    merged: list[AcrossSet | None] = []
    for number in range(len(measured.opened)):
        parts = [
            map(AcrossSet.from_bytes, measured.files(number, gauge))
            for gauge in measured.gauges(number)
            if gauge.name == "across"
        ]
        merged.append(reduce(_merged, parts[0]) if parts else None)
    budget = min((one.words for one in merged if one is not None), default=0)
    measured.stamp |= {"words": min(budget, BUDGET)} if budget else {}
    return [{} if one is None else _across_cells(one, min(budget, BUDGET)) for one in merged]


def _merged(one: AcrossSet, other: AcrossSet) -> AcrossSet:
    one.merge(other)
    return one


def _across_cells(one: AcrossSet, budget: int) -> Cells:
    return {
        metric: _none(_ONE if one.m == 1 else "undefined for this set")
        if isnan(value)
        else Cell(interval=Interval(value, nan, nan, one.images))
        for metric, value in one.values(budget).items()
    }


def _notes(measured: Measured, rows: Sequence[MeasureRow], lacking: Mapping[Metric, str]) -> tuple[str, ...]:
    """Return what has to be said of the table."""
    found = ["In brackets: 95 % intervals, bootstrapped over images."]
    m, larger = measured.m, [one.name for one in measured.opened if one.m > measured.m > 1]
    if larger:
        found.append(
            f"Diversity and facts told are compared at {m} captions an image: the mean over choices of {m}, for "
            f"{', '.join(larger)}."
        )
    single = [row.name for row in rows if row.m == 1]
    if single:
        found.append(f"-: {', '.join(single)}: {_ONE} has no diversity.")
    for number, row in enumerate(rows):
        told = row.cells[LENGTH.name].interval
        short = row.images - (told.count if told else 0)
        if short:
            wanted = measured.m_of(measured.opened[number])
            found.append(
                f"{row.name}: {short:,} of {row.images:,} images have fewer than {wanted} captions, others being "
                "refused by the run's rules; they are left out of diversity."
            )
    found += measured.said
    for need in dict.fromkeys(lacking.values()):
        names = ", ".join(metric.name for metric, why in lacking.items() if why == need)
        found.append(f"not measured: {names}: {need}")
    return tuple(found)


def _images(measured: Measured, number: int, metrics: Sequence[Metric]) -> "pyarrow.Table":
    """Return what was found of each image of a set."""
    import pyarrow as pa

    found: dict[str, pa.Array] = {}
    columns: dict[Metric, pa.Array] = {}
    for gauge in measured.gauges(number):
        shown: list[Shown] = measured.shown(gauge)
        if not shown:
            continue
        table = measured.found(number, gauge)
        found |= {name: table[name] for name in IMAGE[1:]}
        for one in shown:
            matrix = one.matrix({name: column(table, name) for name in one.columns})
            with np.errstate(divide="ignore", invalid="ignore"):
                columns[one.metric] = pa.array(one.numbers(matrix), pa.float64(), from_pandas=True)
    rows = len(found["key"])
    name = measured.opened[number].name
    nothing = pa.nulls(rows, pa.float64())
    told = {metric.name: columns.get(metric, nothing) for metric in metrics if metric in _per_image(measured)}
    return pa.table({"set": pa.array([name] * rows), **found, **told})


def _per_image(measured: Measured) -> set[Metric]:
    return {
        one.metric
        for number in range(len(measured.opened))
        for gauge in measured.gauges(number)
        for one in measured.shown(gauge)
    }
