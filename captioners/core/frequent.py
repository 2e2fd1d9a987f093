"""What is frequent in a long stream, in bounded memory, with summaries of its parts that merge in any order.

Misra and Gries 1982; merged as by Agarwal et al. 2012, "Mergeable summaries": of a stream of n things, each count is at
most n / (size + 1) too low and never too high.
"""

from collections.abc import Mapping


class Frequent:
    """Counts of the `size` most frequent things, none of them too high."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self.counts: dict[str, int] = {}
        """Thing -> how often it was there at the least."""
        self.total = 0
        """All things, those without a count included."""

    def add(self, counts: Mapping[str, int], total: int) -> None:
        """Take in a part of the stream: what recurred in it, and of how many things it was."""
        self.total += total
        for thing, count in counts.items():
            self.counts[thing] = self.counts.get(thing, 0) + count
        if len(self.counts) > self._size:
            # What all others have beyond the first one that has no place stays; so much, at the most, is lost.
            lost = sorted(self.counts.values(), reverse=True)[self._size]
            self.counts = {thing: count - lost for thing, count in self.counts.items() if count > lost}

    def merge(self, other: "Frequent") -> None:
        """Take in the summary of another part of the stream."""
        self.add(other.counts, other.total)

    def above(self, share: float, least: int = 1) -> list[tuple[str, int]]:
        """Return (thing, count) of what surely makes that share of all, `least` times or more; the most first."""
        found = [(thing, count) for thing, count in self.counts.items() if count >= max(share * self.total, least)]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))
