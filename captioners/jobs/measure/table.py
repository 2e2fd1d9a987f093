"""Measure caption sets side by side: at equal numbers of captions, on the same images, each number with its interval.

What is measured of each image lies in the run, so a second call is quick, and a run that went on has little to do.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import isnan, nan
from typing import TYPE_CHECKING

import numpy as np

from captioners.core.stopping import resumable, stoppable
from captioners.data.caption_sets import CaptionSet, OpenSet
from captioners.jobs.measure.added import ADDED, added
from captioners.jobs.measure.cell import intervals
from captioners.jobs.measure.cells import Cell, Cells, MeasureRow, MeasureTable, undefined
from captioners.jobs.measure.gauge import IMAGE, Ids, Numbers, Shown, column, ids_of
from captioners.jobs.measure.measured import Measured
from captioners.jobs.recipes.measure import MeasureOptions
from captioners.metrics.across_set import BUDGET, AcrossSet
from captioners.metrics.across_set import METRICS as ACROSS
from captioners.metrics.alignment import REF_CLIP_SCORE, SELF_RETRIEVAL
from captioners.metrics.between import DUPLICATES, JACCARD
from captioners.metrics.diversity import LENGTH
from captioners.metrics.frequencies import IMAGES
from captioners.metrics.intervals import Interval
from captioners.metrics.metric import Metric
from captioners.metrics.novelty import NOVEL_CAPTIONS, NOVEL_GRAMS
from captioners.metrics.registry import REGISTRY
from captioners.metrics.vendi import ALPHA, BETA, GAMMA

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Cell", "MeasureOptions", "MeasureRow", "MeasureTable", "measure_sets"]

_ONE = "one caption an image"
_SEVERAL = (BETA, ALPHA, GAMMA, JACCARD, DUPLICATES)
_CLIP, _REFERENCES = "--clip NAME", "--references SOURCE"
_NEEDS = {REF_CLIP_SCORE: (_CLIP, _REFERENCES), NOVEL_GRAMS: (_REFERENCES,), NOVEL_CAPTIONS: (_REFERENCES,)}
"""What a metric needs, where its family does not say it."""


def measure_sets(
    sets: Sequence[CaptionSet],
    options: MeasureOptions,
    say: Callable[[str], None] = lambda _: None,
    weighed_by: Sequence[CaptionSet] = (),
) -> MeasureTable:
    """Return the table of these sets.

    Args:
        sets: each a row. options: what is measured. say: told how far it is.
        weighed_by: sets by whose runs Self-CIDEr weighs words, so that tables of some sets each compare; none: these.

    Raises:
        UserError: sets of different images (it counts the shared ones; `common` takes those), a judge that has the
            image tower of a captioner it would judge, references or a judge that cannot be had.
        InterruptedRunError: stopped; what is measured stays, and the same call goes on.
    """
    with resumable(lambda: "stopped; what is measured stays. Run the same command again to go on"), stoppable():
        measured = Measured(sets, options, say, weighed_by)
        measured.measure()
        return _table(measured)


def _table(measured: Measured) -> MeasureTable:
    numbers = range(len(measured.opened))
    cells = [_cells(measured, number) for number in numbers]
    for row, more in zip(cells, _across(measured), strict=True):
        row.update(more)
    lacking = _lacking(measured.options)
    # The row that has most says the order.
    known = (metric for row in sorted(cells, key=len, reverse=True) for metric in row)
    metrics = tuple(dict.fromkeys([*known, *lacking]))
    rows = tuple(
        MeasureRow(
            name=opened.name,
            m=opened.m,
            images=measured.count(number),
            cells={one.name: cells[number].get(one) or undefined(_why(one, opened, lacking)) for one in metrics},
        )
        for number, opened in enumerate(measured.opened)
    )
    return MeasureTable(
        rows=rows,
        metrics=metrics,
        notes=_notes(measured, rows, lacking),
        stamp=measured.stamp,
        images=lambda: (_images(measured, number, _of_images(measured, metrics)) for number in numbers),
    )


def _lacking(options: MeasureOptions) -> dict[Metric, str]:
    """Return what else would be in the table, and what it needs."""
    found = {}
    for one in REGISTRY.values():
        needs = {"CLIP": (_CLIP,), "text encoder": (_CLIP,), "references": (_REFERENCES,)}.get(one.needs, ())
        given = [*([_CLIP] if options.clip else []), *([_REFERENCES] if options.references else [])]
        missing = [need for need in _NEEDS.get(one.metric, needs) if need not in given]
        # Of `report`; here, its name says the pool.
        if (one.bundle or options.all_metrics) and missing and one.metric != SELF_RETRIEVAL:
            found[one.metric] = f"needs {' and '.join(missing)}"
    return found


def _why(metric: Metric, one: OpenSet, lacking: Mapping[Metric, str]) -> str:
    if metric in (*_SEVERAL, *ADDED) and len(one.parts) == 1:
        return "one member"
    if metric in ADDED:
        return "of its members"
    return lacking.get(metric, "not known of these images")


def _cells(measured: Measured, number: int) -> Cells:
    """Return the cells of a row that rest on a number for each image."""
    found: Cells = {}
    m = measured.opened[number].m
    for one in measured.found(number):
        table = one.table()
        columns = {name: column(table, name) for shown in one.shown for name in shown.columns}
        values = intervals(one.shown, columns, ids_of(table), measured.options.seed)
        for shown in one.shown:
            interval = values[shown.metric.name]
            why = _ONE if m == 1 and shown.at_m else "undefined for every image"
            found[shown.metric] = undefined(why) if isnan(interval.value) else Cell(interval=interval)
    return found


def _across(measured: Measured) -> list[Cells]:
    """Return the cells of each row that are of the whole set, at the words of the smallest one, or of its members."""
    if not measured.options.all_metrics:
        return [{} for _ in measured.opened]
    found = [list(measured.across(number)) for number in range(len(measured.opened))]
    merged = [reduce(_merged, groups) if groups else None for groups in found]
    budget = min(BUDGET, *(one.words for one in merged if one is not None))
    measured.stamp["words"] = budget
    alone = {metric: undefined(_ONE) for metric in ACROSS}
    cells = [alone if one is None else _across_cells(one, budget) for one in merged]
    return [of_set | more for of_set, more in zip(cells, added(measured, merged, budget), strict=True)]


def _merged(one: AcrossSet, other: AcrossSet) -> AcrossSet:
    one.merge(other)
    return one


def _across_cells(one: AcrossSet, budget: int) -> Cells:
    return {
        metric: undefined(_ONE if one.m == 1 else "undefined for this set")
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
    several = [one.name for one in measured.opened if len(one.parts) > 1]
    if several:
        found.append(
            f"Vendi alpha, beta and gamma, and what members share and add, are of {', '.join(several)}: of all draws "
            "of each member, whatever sets are compared at, and of images that no caption was refused of. A set of "
            "one member has none of its own."
        )
    single = [row.name for row in rows if row.m == 1]
    if single:
        found.append(f"-: {', '.join(single)}: {_ONE} has no diversity; what is told is told by one.")
    for number, row in enumerate(rows):
        told = row.cells[LENGTH.name].interval
        short = row.images - (told.count if told else 0)
        if short and measured.enough is None:
            wanted = measured.m_of(measured.opened[number])
            found.append(
                f"{row.name}: {short:,} of {row.images:,} images have fewer than {wanted} captions, others being "
                "refused by the run's rules; they are left out of diversity."
            )
    if measured.enough is not None:
        found.append(
            f"{measured.enough:,} images have as many captions in every set, others being refused by the runs' rules: "
            "diversity, facts told, the best of m, self-retrieval and what is counted across a set are of these alone."
        )
    for number, row in enumerate(rows):
        found += _of_some(row, [shown for one in measured.found(number) for shown in one.shown])
    if measured.options.all_metrics and measured.options.references:
        found.append(
            "Novel is what those references do not say that are read for it: whole shards of a source, until there are "
            f"{IMAGES:,} images; of a larger one, what only the rest says counts as novel."
        )
    for need in dict.fromkeys(lacking.values()):
        names = ", ".join(metric.name for metric, why in lacking.items() if why == need)
        found.append(f"not measured: {names}: {need}")
    return tuple(found)


def _of_some(row: MeasureRow, shown: Sequence[Shown]) -> list[str]:
    """Return of how many images numbers are that not all have, but for those that other notes tell of."""
    counts: dict[int, list[str]] = {}
    for one in shown:
        interval, name = row.cells[one.metric.name].interval, one.metric.name
        # The name of a pool says its size.
        if interval and interval.count < row.images and not one.at_m and not name.startswith("self-retrieval"):
            counts.setdefault(interval.count, []).append(name)
    return [f"{row.name}: {', '.join(names)}: of {n:,} of {row.images:,} images alone." for n, names in counts.items()]


def _images(measured: Measured, number: int, metrics: Sequence[Metric]) -> "pyarrow.Table":
    """Return what was found of each image of a set; a metric of some images alone is null for the others."""
    import pyarrow as pa

    ids: Ids | None = None
    told: dict[str, pa.Array] = {"set": pa.array([])}
    values: dict[Metric, Numbers] = {}
    for one in measured.found(number):
        table = one.table()
        if ids is None:
            ids = ids_of(table)
            told = {"set": pa.array([measured.opened[number].name] * len(ids)), **{n: table[n] for n in IMAGE[1:]}}
        places = _places(ids, ids_of(table))
        for shown in one.shown:
            with np.errstate(divide="ignore", invalid="ignore"):
                numbers = shown.numbers(shown.matrix({name: column(table, name) for name in shown.columns}))
            values[shown.metric] = np.full(len(ids), nan)
            values[shown.metric][places] = numbers
    nothing = np.full(0 if ids is None else len(ids), nan)
    return pa.table(
        {**told, **{one.name: pa.array(values.get(one, nothing), pa.float64(), from_pandas=True) for one in metrics}}
    )


def _places(ids: Ids, some: Ids) -> Ids:
    """Return the places in `ids` of some of them."""
    if np.array_equal(ids, some):
        return np.arange(len(ids), dtype=np.uint64)
    order = np.argsort(ids)
    return np.asarray(order[np.searchsorted(ids, some, sorter=order)], dtype=np.uint64)


def _of_images(measured: Measured, metrics: Sequence[Metric]) -> list[Metric]:
    """Return those metrics that have a number for each image."""
    found = {
        shown.metric for number in range(len(measured.opened)) for one in measured.found(number) for shown in one.shown
    }
    return [metric for metric in metrics if metric in found]
