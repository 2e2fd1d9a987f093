"""The drawings of an ablation as geometry: frontiers, saturation, intervals of contrasts, one dot a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from captioners.report.ablation import Ablation, Cell, Column, Contrast
from captioners.report.ablation_table import number
from captioners.report.plot import Plot, Point, best, plot

BAR_WIDTH = 200.0


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A difference with its interval on a line, 0..200; others beside it share its scale."""

    at: float
    low: float | None
    high: float | None
    zero: float
    margin: tuple[float, float] | None
    """Where a difference counts as none."""


def scaled(value: float, unit: str) -> float:
    """Return a value as it is drawn: shares in percent."""
    return 100 * value if unit == "share" else value


def axis(column: Column) -> str:
    """Return an axis' name, with which way is better."""
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[column.better]
    return f"{column.name}, {'%' if column.unit == 'share' else column.unit}{arrow}"


def frontiers(found: Ablation) -> list[Plot]:
    """Return a drawing for each pair of metrics that some arm has both of; the line joins what nothing beats."""
    columns = {column.name: column for column in found.columns}
    drawn = []
    for across, upward in found.frontiers:
        if across not in columns or upward not in columns:
            continue
        points = frontier_points(found, columns[across], columns[upward])
        line = best(
            points,
            x_higher=columns[across].better != "lower",
            y_higher=columns[upward].better != "lower",
        )
        made = plot(
            f"{upward} against {across}",
            points,
            x_name=axis(columns[across]),
            y_name=axis(columns[upward]),
            lines=[line],
            words=_frontier_words(points, line, across, upward),
        )
        drawn += [made] if made is not None else []
    return drawn


def frontier_points(found: Ablation, across: Column, upward: Column) -> list[Point]:
    """Return a point for each arm that has both numbers, marked with the arm's number."""
    points = []
    for place, arm in enumerate(found.arms, 1):
        x, y = arm.cells.get(across.name), arm.cells.get(upward.name)
        if x is None or y is None or x.value is None or y.value is None:
            continue
        points.append(
            Point(
                x=scaled(x.value, across.unit),
                y=scaled(y.value, upward.unit),
                x_ends=_ends(x, across.unit),
                y_ends=_ends(y, upward.unit),
                name=arm.name,
                mark=str(place),
                series=(place - 1) % 8,
            )
        )
    return points


def _frontier_words(points: Sequence[Point], line: Sequence[Point], across: str, upward: str) -> str:
    said = "; ".join(f"{p.name}: {across} {p.x:.3g}, {upward} {p.y:.3g}" for p in points)
    return f"{said}. No other arm beats {', '.join(point.name for point in line)} in both."


def saturation(found: Ablation) -> list[tuple[Plot, Sequence[str]]]:
    """Return a drawing for each metric that grows with captions an image, and the names of its lines."""
    columns = {column.name: column for column in found.columns}
    drawn: list[tuple[Plot, Sequence[str]]] = []
    for metric in dict.fromkeys(curve.metric for curve in found.saturation):
        column = columns.get(metric) or Column(name=metric, unit="", better="neither", group="quality")
        of = [curve for curve in found.saturation if curve.metric == metric]
        lines = [
            [
                Point(
                    x=float(m),
                    y=scaled(cell.value, column.unit),
                    y_ends=_ends(cell, column.unit),
                    name=curve.name,
                    series=place % 8,
                )
                for m, cell in curve.points
                if cell.value is not None
            ]
            for place, curve in enumerate(of)
        ]
        words = "; ".join(
            f"{line[0].name} {line[0].y:.3g} at {line[0].x:g}, {line[-1].y:.3g} at {line[-1].x:g}"
            for line in lines
            if line
        )
        made = plot(
            metric,
            [point for line in lines for point in line],
            x_name="captions an image",
            y_name=axis(column),
            lines=lines,
            from_zero=True,
            words=words,
        )
        drawn += [(made, [curve.name for curve in of])] if made is not None else []
    return drawn


def bars(contrasts: Sequence[Contrast], margin: float | None) -> list[Bar | None]:
    """Return a bar for each contrast, all on one scale around zero; None where there is no difference yet."""
    reach = max((abs(v) for c in contrasts for v in (c.difference, c.low, c.high) if v is not None), default=0.0)
    reach = max(reach, 1.2 * (margin or 0.0)) or 1.0

    def x(value: float) -> float:
        return round(BAR_WIDTH / 2 * (1 + 0.96 * value / reach), 1)

    return [
        None
        if one.difference is None
        else Bar(
            at=x(one.difference),
            low=None if one.low is None else x(one.low),
            high=None if one.high is None else x(one.high),
            zero=x(0.0),
            margin=None if margin is None else (x(-margin), x(margin)),
        )
        for one in contrasts
    ]


def strips(rows: Sequence[Mapping[str, float]], unit: str) -> tuple[str, str, list[list[float]], list[float | None]]:
    """Return the ends of a common scale as text, each row's dots on it (0..100), and each row's mean."""
    values = [value for row in rows for value in row.values()]
    if not values:
        return "", "", [[] for _ in rows], [None for _ in rows]
    low, high = min(values), max(values)
    pad = 0.04 * (high - low) or 0.01 * abs(high) or 1.0
    low, high = low - pad, high + pad

    def x(value: float) -> float:
        return round(100 * (value - low) / (high - low), 1)

    means = [x(sum(row.values()) / len(row)) if row else None for row in rows]
    return number(low, unit), number(high, unit), [[x(value) for value in row.values()] for row in rows], means


def _ends(cell: Cell, unit: str) -> tuple[float, float] | None:
    if cell.low is None or cell.high is None:
        return None
    return scaled(cell.low, unit), scaled(cell.high, unit)
