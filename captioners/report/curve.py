"""Curves over steps as small drawings: round numbers on both axes, and the last value in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10

WIDTH, HEIGHT = 300.0, 120.0
_MOST_POINTS = 400

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line of a drawing."""

    name: str
    path: str
    """The `points` of an SVG polyline, from the top left."""
    dots: tuple[tuple[float, float], ...]
    """Where its points are, if they are few enough to be seen apart."""


@dataclass(frozen=True)
class Curve:
    """Lines over one axis of steps."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    words: str
    """What the drawing says, for those who do not see it."""


def curve(title: str, lines: Sequence[tuple[str, Points]], *, digits: int = 2) -> Curve | None:
    """Return lines (name, (step, value) in order) as one drawing; None where no value is a number."""
    shown = [(name, _thinned([point for point in points if isfinite(point[1])])) for name, points in lines]
    shown = [(name, points) for name, points in shown if points]
    if not shown:
        return None
    values = [value for _, points in shown for _, value in points]
    steps = [step for _, points in shown for step, _ in points]
    low, high, ticks = scale(min(values), max(values))
    left, right = min(steps), max(steps)

    def x(step: float) -> float:
        return round((step - left) / (right - left) * WIDTH, 1) if right > left else WIDTH / 2

    def y(value: float) -> float:
        return round(HEIGHT - (value - low) / (high - low) * HEIGHT, 1)

    drawn = []
    for name, points in shown:
        places = [(x(step), y(value)) for step, value in points]
        few = tuple(places) if len(places) <= 30 else ()
        drawn.append(Line(name, " ".join(f"{at},{up}" for at, up in places), few))
    said = "; ".join(
        f"{name} {first[1]:.{digits}f} at step {first[0]:,.0f}, {last[1]:.{digits}f} at {last[0]:,.0f}"
        for name, (first, *_, last) in ((name, [points[0], *points]) for name, points in shown)
    )
    middle = (left + right) / 2
    marks = sorted({left, round(middle), right}) if right > left else [left]
    return Curve(
        title=title,
        lines=tuple(drawn),
        x_ticks=tuple((x(step), f"{step:,.0f}") for step in marks),
        y_ticks=tuple((y(value), f"{value:g}") for value in ticks),
        words=said,
    )


def _thinned(points: Points) -> Points:
    """Return at most some hundred points, the first and the last among them: means of equal runs of the others."""
    if len(points) <= _MOST_POINTS:
        return points
    size = -(-len(points) // _MOST_POINTS)
    runs = [points[at : at + size] for at in range(0, len(points), size)]
    means = [(run[-1][0], sum(value for _, value in run) / len(run)) for run in runs]
    return [points[0], *means[:-1], points[-1]]


def scale(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return the ends of an axis that holds both values, and three to five round numbers on it.

    >>> scale(0.13, 0.87)
    (0.0, 1.0, [0.0, 0.5, 1.0])
    """
    span = high - low
    if span <= 1e-9 * max(abs(low), abs(high)):  # one value, but for the last digits of a float
        span = abs(high) or 1.0
    unit = 10 ** floor(log10(span))
    step = next(unit * part for part in (0.1, 0.2, 0.5, 1, 2, 5) if span / (unit * part) <= 3)
    first, last = floor(low / step), -floor(-high / step)
    if first == last:
        last += 1
    ticks = [float(f"{number * step:.12g}") for number in range(first, last + 1)]
    return ticks[0], ticks[-1], ticks
