"""An order of shards whose every beginning is an even sample of the whole, so that a pilot tells of the rest."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_GOLDEN = (5**0.5 - 1) / 2


def spread(things: Sequence[T]) -> list[T]:
    """Return the things by the fractional part of (place x golden ratio), the first one first.

    Those taken so far then stand at nearly even distances, after any number of them (the three-distance theorem). The
    usual bit-reversed order (van der Corput) would take all even places before an odd one: of shards that alternate
    between two crawls it would see one crawl until half-way; the golden ratio goes with no such period.

    >>> spread("abcdefgh")
    ['a', 'f', 'c', 'h', 'e', 'b', 'g', 'd']
    """
    return [things[place] for place in sorted(range(len(things)), key=lambda place: place * _GOLDEN % 1)]
