"""Histograms of lengths as small drawings, on one scale for all members, so that they can be compared by eye."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_MOST_BARS = 24
_WIDTH, _HEIGHT = 288.0, 72.0


@dataclass(frozen=True)
class Bar:
    """One bar, in drawing units from the top left; `label` says it in words."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class Histogram:
    """A member's lengths."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    """(x, number) along the axis."""
    mean: float
    spread: float
    """Standard deviation."""
    longest: int
    count: int

    @property
    def words(self) -> str:
        """What the drawing says, for those who do not see it."""
        if not self.count:
            return "no captions"
        return f"{self.count:,} captions of {self.mean:.1f} ± {self.spread:.1f} tokens, the longest {self.longest}"


def histograms(lengths: Sequence[Mapping[int, int]]) -> list[Histogram]:
    """Return a histogram for each member's table of length -> captions; all share their bins and both scales."""
    longest = max((max(table, default=0) for table in lengths), default=0)
    size = _bin_size(longest)
    count = longest // size + 1
    binned = [_binned(table, size, count) for table in lengths]
    # Shares, so that members with more draws do not look taller.
    shares = [[number / max(1, sum(bins)) for number in bins] for bins in binned]
    top = max((share for row in shares for share in row), default=0.0) or 1.0
    return [_drawn(table, bins, row, size, top) for table, bins, row in zip(lengths, binned, shares, strict=True)]


def _bin_size(longest: int) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, 50 ... tokens that needs few enough bars."""
    scale = 1
    while True:
        for step in (1, 2, 5):
            if longest // (step * scale) + 1 <= _MOST_BARS:
                return step * scale
        scale *= 10


def _binned(table: Mapping[int, int], size: int, count: int) -> list[int]:
    bins = [0] * count
    for length, number in table.items():
        bins[length // size] += number
    return bins


def _drawn(table: Mapping[int, int], bins: Sequence[int], shares: Sequence[float], size: int, top: float) -> Histogram:
    count = sum(table.values())
    mean = sum(length * number for length, number in table.items()) / count if count else 0.0
    variance = sum(number * (length - mean) ** 2 for length, number in table.items()) / count if count else 0.0
    step = _WIDTH / len(bins)
    bars = tuple(
        Bar(
            x=round(place * step + step * 0.06, 2),
            y=round(_HEIGHT * (1 - share / top), 2),
            width=round(step * 0.88, 2),
            height=round(_HEIGHT * share / top, 2),
            label=f"{_span(place, size)} tokens: {number:,} caption{'' if number == 1 else 's'} ({share:.1%})",
        )
        for place, (number, share) in enumerate(zip(bins, shares, strict=True))
        if number
    )
    every = max(1, len(bins) // 4)
    ticks = tuple((round(place * step + step / 2, 2), str(place * size)) for place in range(0, len(bins), every))
    return Histogram(bars, ticks, mean, variance**0.5, max(table, default=0), count)


def _span(place: int, size: int) -> str:
    first = place * size
    return str(first) if size == 1 else f"{first}–{first + size - 1}"
