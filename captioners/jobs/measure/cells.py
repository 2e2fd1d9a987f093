"""The table of `captioners measure`: a row for each caption set, a cell for each metric, and footnotes.

A cell is a number with its interval over images, or the reason why there is none; no cell is empty without a word.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any

from captioners.metrics.intervals import Interval
from captioners.metrics.metric import Metric
from captioners.report.gallery import table_html

if TYPE_CHECKING:
    import pyarrow

_FIXED = "\u00a0"  # a space at which no line is broken


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a row, or why there is none."""

    interval: Interval | None
    """Its ends are nan where a metric is one number of the whole set."""
    why: str = ""
    """Why there is no number: 'one caption an image', 'needs --clip NAME' ..."""

    def as_json(self) -> dict[str, Any]:
        """Return value, low, high and count (None where undefined), or the reason."""
        one = self.interval
        if one is None:
            return {"value": None, "why": self.why}
        numbers = {"value": one.value, "low": one.low, "high": one.high}
        return {name: None if isnan(value) else float(value) for name, value in numbers.items()} | {"count": one.count}


Cells = dict[Metric, Cell]
"""Of a row."""


def undefined(why: str) -> Cell:
    """Return a cell without a number."""
    return Cell(interval=None, why=why)


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """One caption set."""

    name: str
    m: int
    """Captions of an image."""
    images: int
    """That were measured; the count of a cell says how many of them its number rests on."""
    cells: Mapping[str, Cell]
    """By the metric's name, for every metric of the table."""


@dataclass(frozen=True, kw_only=True)
class MeasureTable:
    """What was measured."""

    rows: tuple[MeasureRow, ...]
    metrics: tuple[Metric, ...]
    """The columns, in their order."""
    notes: tuple[str, ...]
    """Footnotes: what is undefined, rarefied, left out."""
    stamp: Mapping[str, Any]
    """What the numbers depend on besides the captions: m, seed, tokenizer, document frequencies, references, judge."""
    images: "Callable[[], Iterator[pyarrow.Table]]" = field(repr=False, compare=False)
    """Yields what was measured of each image: set, shard, key, image_sha256, then a column for each metric that has
    one number an image; doubles, null where undefined."""

    def per_image(self) -> "pyarrow.Table":
        """Return all of `images` as one table."""
        import pyarrow as pa

        return pa.concat_tables(self.images())

    def write_parquet(self, path: str) -> None:
        """Write `images` to a Parquet file."""
        import pyarrow.parquet as pq

        writer = None
        for table in self.images():
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON-able values; what is not defined is null."""
        rows = [
            {
                "name": row.name,
                "m": row.m,
                "images": row.images,
                "cells": {name: cell.as_json() for name, cell in row.cells.items()},
            }
            for row in self.rows
        ]
        metrics = [
            {"name": one.name, "unit": one.unit, "better": one.better, "version": one.version, "source": one.source}
            for one in self.metrics
        ]
        return {"rows": rows, "metrics": metrics, "notes": list(self.notes), "stamp": dict(self.stamp)}

    def __repr__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        """Return it for a notebook: metrics down, sets side by side, then the notes."""
        told = self._told()
        columns = [_column(row, told) for row in self.rows]
        rows = list(zip(_labels(told), *columns, strict=True))
        notes = (table_html("", note, (), ()) for note in self.notes)
        return table_html("", "", rows[0], rows[1:]) + "".join(notes)

    def as_text(self, width: int = 100) -> str:
        """Return it for a terminal: metrics down, as many sets side by side as `width` holds, then the notes.

        A metric that no set has a number of stands in the notes alone.
        """
        told = self._told()
        columns = [_column(row, told) for row in self.rows]
        labels = _labels(told)
        label = max(map(len, labels))
        blocks, block = [], list[list[str]]()
        for column in columns:
            if block and label + sum(_wide(one) for one in [*block, column]) > width:
                blocks.append(block)
                block = []
            block.append(column)
        tables = [_lines(labels, one, label) for one in [*blocks, block]]
        return "\n\n".join([*tables, "\n".join(self.notes)]).strip("\n")

    def _told(self) -> list[Metric]:
        return [one for one in self.metrics if any(row.cells[one.name].interval for row in self.rows)]


def _labels(metrics: Sequence[Metric]) -> list[str]:
    return ["", "captions an image", "images", *(one.name for one in metrics)]


def _column(row: MeasureRow, metrics: Sequence[Metric]) -> list[str]:
    return [row.name, str(row.m), f"{row.images:,}", *(cell_words(one, row.cells[one.name]) for one in metrics)]


def _wide(column: Sequence[str]) -> int:
    return 2 + max(map(len, column))


def _lines(labels: Sequence[str], block: Sequence[Sequence[str]], label: int) -> str:
    rows = zip(labels, *block, strict=True)
    return "\n".join(
        f"{name:<{label}}" + "".join(f"{cell:>{_wide(column)}}" for cell, column in zip(cells, block, strict=True))
        for name, *cells in rows
    )


def number_words(metric: Metric, value: float) -> str:
    """Return a value as it is printed: shares and scores with three digits, words and counts with fewer."""
    if isnan(value):
        return "-"
    if metric.high == 1:
        return f"{value:.3f}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def cell_words(metric: Metric, cell: Cell) -> str:
    """Return '0.351 [0.340, 0.362]', or '-'."""
    one = cell.interval
    if one is None or isnan(one.value):
        return "-"
    if isnan(one.low) and metric.high != 1 and one.value.is_integer():
        return f"{one.value:,.0f}"
    ends = "" if isnan(one.low) else f" [{number_words(metric, one.low)}, {number_words(metric, one.high)}]"
    return f"{number_words(metric, one.value)}{ends}"
