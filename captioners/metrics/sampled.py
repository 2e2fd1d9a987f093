"""The captions of those images whose keys hash lowest: a sample that is the same however a set is cut into shards.

Two captioners of the same images are sampled at the same images. Samples merge exactly: a key among the lowest of a
whole is among the lowest of its part.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from captioners.core.errors import CaptionersError
from captioners.metrics.hashed import text_hash
from captioners.metrics.tokens import words

Measure = Literal["images", "words"]


@dataclass(frozen=True)
class Kept:
    """One image of a sample."""

    captions: tuple[str, ...]
    weight: int


class Sample:
    """The lowest keys, until they hold `limit` images or words.

    Args:
        limit: the last image kept is the one that reaches it. by: what is counted.
    """

    def __init__(self, limit: int, by: Measure = "images") -> None:
        self.limit, self.by = limit, by
        self._kept: dict[tuple[int, str], Kept] = {}
        self._weight = 0
        self._bound: tuple[int, str] | None = None
        """A key at or above it is out already."""

    def __len__(self) -> int:
        """Images kept."""
        self._cut()
        return len(self._kept)

    def add(self, key: str, captions: Sequence[str]) -> None:
        """Offer one image."""
        place = (text_hash(key), key)
        if self._bound is not None and place > self._bound:
            return
        weight = 1 if self.by == "images" else sum(len(words(text)) for text in captions)
        self._put(place, Kept(tuple(captions), weight))

    def merge(self, other: "Sample") -> None:
        """Take in a sample of other images."""
        if (self.limit, self.by) != (other.limit, other.by):
            raise CaptionersError("samples of different limits are no parts of one whole")
        for place, kept in other._kept.items():
            self._put(place, kept)

    def items(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Give the images kept and their captions, lowest hash first."""
        self._cut()
        for (_, key), kept in sorted(self._kept.items(), key=lambda item: item[0]):
            yield key, kept.captions

    def _put(self, place: tuple[int, str], kept: Kept) -> None:
        before = self._kept.get(place)
        self._kept[place] = kept
        self._weight += kept.weight - (before.weight if before else 0)
        if self._weight >= 2 * self.limit:
            self._cut()

    def _cut(self) -> None:
        total, lowest = 0, {}
        for place in sorted(self._kept):
            if total >= self.limit:
                break
            lowest[place] = self._kept[place]
            total += lowest[place].weight
            self._bound = place
        if total < self.limit:
            self._bound = None
        self._kept, self._weight = lowest, total
