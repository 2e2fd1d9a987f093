"""Points with their intervals on round axes, as small drawings: frontiers, and numbers that grow with a count."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

from captioners.report.curve import scale

WIDTH, HEIGHT = 340.0, 230.0

Ticks = tuple[tuple[float, str], ...]
Scale = Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A number in two directions, each with its interval where there is one."""

    x: float
    y: float
    name: str
    mark: str = ""
    """A letter or number that stands beside it."""
    series: int = 0
    """Its colour, and which points a line joins."""
    x_ends: tuple[float, float] | None = None
    y_ends: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A point in drawing units, from the top left."""

    x: float
    y: float
    left: float
    right: float
    low: float
    high: float
    name: str
    mark: str
    series: int
    mark_x: float
    """Where its mark stands, so that no two marks lie on each other."""
    mark_y: float


@dataclass(frozen=True, kw_only=True)
class Plot:
    """The drawing."""

    title: str
    x_name: str
    y_name: str
    points: tuple[Placed, ...]
    lines: tuple[tuple[int, str], ...]
    """(series, the `points` of an SVG polyline)."""
    x_ticks: Ticks
    y_ticks: Ticks
    words: str
    """What the drawing says, for those who do not see it."""


def plot(
    title: str,
    points: Sequence[Point],
    *,
    x_name: str,
    y_name: str,
    lines: Sequence[Sequence[Point]] = (),
    from_zero: bool = False,
    words: str = "",
) -> Plot | None:
    """Return a drawing of points and of lines through some of them; None where no point has both numbers.

    With `from_zero` the upward axis holds 0, so that heights can be compared.
    """
    shown = [point for point in points if isfinite(point.x) and isfinite(point.y)]
    if not shown:
        return None
    across = [value for point in shown for value in (point.x, *(point.x_ends or ()))]
    upward = [value for point in shown for value in (point.y, *(point.y_ends or ()))] + [0.0] * from_zero
    left, right, x_ticks = scale(min(across), max(across))
    low, high, y_ticks = scale(min(upward), max(upward))

    def x(value: float) -> float:
        return round((value - left) / (right - left) * WIDTH, 1)

    def y(value: float) -> float:
        return round(HEIGHT - (value - low) / (high - low) * HEIGHT, 1)

    placed = _placed(shown, x, y)
    return Plot(
        title=title,
        x_name=x_name,
        y_name=y_name,
        points=placed,
        lines=tuple((line[0].series, " ".join(f"{x(p.x)},{y(p.y)}" for p in line)) for line in lines if len(line) > 1),
        x_ticks=tuple((x(value), f"{value:g}") for value in x_ticks),
        y_ticks=tuple((y(value), f"{value:g}") for value in y_ticks),
        words=words or "; ".join(f"{point.name}: {point.x:.3g}, {point.y:.3g}" for point in shown),
    )


def _placed(points: Sequence[Point], x: Scale, y: Scale) -> tuple[Placed, ...]:
    taken: list[tuple[float, float]] = [(x(point.x), y(point.y)) for point in points]
    placed = []
    for point in points:
        at, up = x(point.x), y(point.y)
        mark_x, mark_y = _free(at, up, taken) if point.mark else (at, up)
        taken.append((mark_x, mark_y))
        sides = point.x_ends or (point.x, point.x)
        ends = point.y_ends or (point.y, point.y)
        placed.append(
            Placed(
                x=at,
                y=up,
                left=x(sides[0]),
                right=x(sides[1]),
                low=y(ends[0]),
                high=y(ends[1]),
                name=point.name,
                mark=point.mark,
                series=point.series,
                mark_x=mark_x,
                mark_y=mark_y,
            )
        )
    return tuple(placed)


def best(points: Sequence[Point], *, x_higher: bool = True, y_higher: bool = True) -> list[Point]:
    """Return the points that no other is better than in both directions, from left to right: the frontier.

    >>> a, b, c = (Point(x=x, y=y, name="") for x, y in ((0, 2), (1, 1), (0.5, 0.5)))
    >>> best([c, b, a]) == [a, b]
    True
    """

    def worth(point: Point) -> tuple[float, float]:
        return (point.x if x_higher else -point.x, point.y if y_higher else -point.y)

    def beaten(point: Point) -> bool:
        mine = worth(point)
        return any(theirs != mine and theirs[0] >= mine[0] and theirs[1] >= mine[1] for theirs in map(worth, points))

    return sorted((point for point in points if not beaten(point)), key=lambda point: (point.x, point.y))


_PLACES = ((9, -7), (-9, -7), (9, 13), (-9, 13), (0, -11), (0, 17), (17, 3), (-17, 3), (19, -15), (-19, -15))


def _free(x: float, y: float, taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the place beside a point that is farthest from all that is taken, the first that is far enough."""

    def room(place: tuple[int, int]) -> float:
        at, up = x + place[0], y + place[1] - 4  # the middle of a mark is above its foot
        inside = -8 <= at <= WIDTH + 8 and 6 <= up + 4 <= HEIGHT
        return min((abs(at - a) + abs(up - b) for a, b in taken), default=99.0) if inside else -1.0

    chosen = next((place for place in _PLACES if room(place) >= 12), max(_PLACES, key=room))
    return x + chosen[0], y + chosen[1]
