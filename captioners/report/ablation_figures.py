"""The figures of an ablation for print: SVG and PDF of the same numbers as their CSV, the same bytes at every writing.

Letters are inside: outlines in SVG, TrueType in PDF. matplotlib is imported when the first figure is drawn.
"""

from collections.abc import Callable, Sequence
from io import BytesIO
from math import isnan
from textwrap import wrap
from typing import Any

from captioners.report.ablation import Ablation
from captioners.report.ablation_csv import Figures, Value
from captioners.report.ablation_table import on_images
from captioners.report.plot import Point, best

COLOURS = ("#2f72b7", "#d0741a", "#2f8f5b", "#a6497f", "#7a64c4", "#a08200", "#3c98ad", "#8a5a44")
_MARKERS = "os^Dv<>P"
_STYLE = {
    "font.family": "DejaVu Sans",  # it comes with matplotlib, so every machine draws the same letters
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "captioners",
}
_WIDTH = 3.4
"""Inches: one column of a two-column page."""
_HALF, _WHOLE = 22, 48
"""Letters of a legend's name that half the width has room for, and the whole width."""


def drawn(figure: Figures, found: Ablation) -> dict[str, bytes]:
    """Return "svg" and "pdf" of one figure, of which nothing depends on the time or the machine."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    units = {column.name: column.unit for column in found.columns}
    with rc_context(_STYLE):
        canvas = Figure(figsize=(_WIDTH, _height(figure)))
        axes = canvas.add_subplot()
        _DRAWERS[figure.kind](axes, figure, units, found)
        made = {}
        for form, nothing in (("svg", {"Date": None, "Creator": None}), ("pdf", {"CreationDate": None})):
            file = BytesIO()
            canvas.savefig(file, format=form, metadata=nothing)
            made[form] = file.getvalue()
    return made


def _height(figure: Figures) -> float:
    rows, names = len(figure.rows), list(dict.fromkeys(str(row[0]) for row in figure.rows))
    by_rows = {"probe": len(names), "added": rows, "overlap": len(names) * 1.6, "contrasts": rows}
    if figure.kind in by_rows:
        return 0.9 + 0.2 * by_rows[figure.kind]
    labels = [f"{row[0]} {row[1]}" for row in figure.rows] if figure.kind == "frontier" else names
    lines = sum(len(wrap(label, _WHOLE)) for label in labels)
    return 2.3 + 0.16 * (lines if _are_long(labels) else -(-len(labels) // 2))


def _are_long(labels: Sequence[str]) -> bool:
    return any(len(label) > _HALF for label in labels)


def _legend_below(axes: Any) -> None:
    """Name every series below the axes: in two columns, or long names in one, broken into lines."""
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles,
        ["\n".join(wrap(label, _WHOLE)) for label in labels],
        loc="upper left",
        bbox_to_anchor=(0, -0.24),
        ncols=1 if _are_long(labels) else 2,
        handletextpad=0.4,
    )


def _frontier(axes: Any, figure: Figures, units: dict[str, str], found: Ablation) -> None:
    across, upward = figure.columns[2], figure.columns[5]
    x, y = (_scaler(units.get(name, "")) for name in (across, upward))
    for number, name, *values in figure.rows:
        place = int(number or 0) - 1
        a, a_low, a_high, b, b_low, b_high = values
        axes.errorbar(
            x(a),
            y(b),
            xerr=_error(x(a), x(a_low), x(a_high)),
            yerr=_error(y(b), y(b_low), y(b_high)),
            fmt=_MARKERS[place // 8 % 8],
            color=COLOURS[place % 8],
            markersize=4,
            linewidth=0.9,
            label=f"{number} {name}",
        )
        axes.annotate(str(number), (x(a), y(b)), xytext=(4, 4), textcoords="offset points", fontsize=7)
    line = _edge(figure, found)
    axes.plot([x(a) for a, _ in line], [y(b) for _, b in line], "--", color="grey", linewidth=0.8, zorder=1)
    axes.set_xlabel(_axis(across, units))
    axes.set_ylabel(_axis(upward, units))
    _legend_below(axes)


def _edge(figure: Figures, found: Ablation) -> list[tuple[float, float]]:
    """Return what no other arm beats in both directions, from left to right."""
    better = {column.name: column.better for column in found.columns}
    points = [Point(x=_float(row[2]), y=_float(row[5]), name=str(row[1])) for row in figure.rows]
    across, upward = (better.get(figure.columns[at], "higher") != "lower" for at in (2, 5))
    return [(point.x, point.y) for point in best(points, x_higher=across, y_higher=upward)]


def _saturation(axes: Any, figure: Figures, units: dict[str, str], _found: Ablation) -> None:
    metric = figure.columns[2]
    y = _scaler(units.get(metric, ""))
    for place, name in enumerate(dict.fromkeys(row[0] for row in figure.rows)):
        points = [row for row in figure.rows if row[0] == name]
        errors = [_error(y(row[2]), y(row[3]), y(row[4])) for row in points]
        axes.errorbar(
            [row[1] for row in points],
            [y(row[2]) for row in points],
            yerr=[[error[side][0] if error else 0.0 for error in errors] for side in (0, 1)],
            fmt=f"-{_MARKERS[place // 8 % 8]}",
            color=COLOURS[place % 8],
            markersize=3.5,
            linewidth=1,
            label=str(name),
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("captions an image")
    axes.set_ylabel(_axis(metric, units))
    _legend_below(axes)


def _probe(axes: Any, figure: Figures, _units: dict[str, str], found: Ablation) -> None:
    x = _scaler(found.task_unit)
    names = list(dict.fromkeys(str(row[0]) for row in figure.rows))
    for place, name in enumerate(names):
        values = [x(row[2]) for row in figure.rows if row[0] == name]
        axes.plot(values, [place] * len(values), "o", color=COLOURS[place % 8], alpha=0.5, markersize=3.5, mew=0)
        axes.plot([sum(values) / len(values)], [place], "|", color="black", markersize=9)
    _rows(axes, names)
    axes.set_xlabel(figure.columns[2] + (", %" if found.task_unit == "share" else ""))


def _contrasts(axes: Any, figure: Figures, _units: dict[str, str], found: Ablation) -> None:
    x = _scaler(found.task_unit)
    if found.declared is not None:
        axes.axvspan(-x(found.declared.margin), x(found.declared.margin), color="#eceae6", linewidth=0)
    axes.axvline(0, color="grey", linewidth=0.8)
    _bars(axes, [row[3:6] for row in figure.rows], x)
    _rows(axes, [f"{row[0]}, λ {row[2]}" for row in figure.rows])
    axes.set_xlabel("difference" + (", points" if found.task_unit == "share" else ""))


def _added(axes: Any, figure: Figures, units: dict[str, str], _found: Ablation) -> None:
    unit = units.get(figure.columns[2], "")
    axes.axvline(0, color="grey", linewidth=0.8)
    _bars(axes, [row[2:5] for row in figure.rows], _scaler(unit))
    several = len({row[0] for row in figure.rows}) > 1
    _rows(axes, [f"{row[1]} in {row[0]}" if several else str(row[1]) for row in figure.rows])
    added = f"{figure.columns[2]} added" + (", points" if unit == "share" else f", {unit}" if unit else "")
    axes.set_xlabel(on_images(added, [int(row[5]) for row in figure.rows if row[5] is not None]))


def _overlap(axes: Any, figure: Figures, _units: dict[str, str], _found: Ablation) -> None:
    names = list(dict.fromkeys(str(row[0]) for row in figure.rows))
    value = {(row[0], row[1]): row[2] for row in figure.rows}
    field = [[_float(value[one, other]) for other in names] for one in names]
    axes.imshow(field, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
    for down, row in enumerate(field):
        for across, number in enumerate(row):
            axes.text(across, down, "–" if isnan(number) else f"{number:.2f}", ha="center", va="center", fontsize=6)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_title(figure.title)


def _bars(axes: Any, rows: Sequence[Sequence[Value]], x: Callable[[Value], float]) -> None:
    for place, (value, low, high) in enumerate(rows):
        error = _error(x(value), x(low), x(high))
        axes.errorbar(x(value), place, xerr=error, fmt="o", color=COLOURS[0], markersize=4, linewidth=1)


def _rows(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _scaler(unit: str) -> Callable[[Value], float]:
    return lambda value: _float(value) * (100 if unit == "share" else 1)


def _float(value: Value) -> float:
    return float("nan") if value is None else float(value)


def _error(value: float, low: float, high: float) -> list[list[float]] | None:
    """Return the lengths of both whiskers as matplotlib wants them; None where there is no interval."""
    if isnan(low) or isnan(high):
        return None
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _axis(name: str, units: dict[str, str]) -> str:
    unit = units.get(name, "")
    return f"{name}, {'%' if unit == 'share' else unit}" if unit else name


_DRAWERS: dict[str, Callable[[Any, Figures, dict[str, str], Ablation], None]] = {
    "frontier": _frontier,
    "saturation": _saturation,
    "probe": _probe,
    "contrasts": _contrasts,
    "overlap": _overlap,
    "added": _added,
}
