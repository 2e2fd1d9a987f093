"""How often each 64-bit hash came up: sorted arrays instead of a dictionary, merged exactly, 16 bytes a hash."""

import numpy as np

from captioners.metrics.hashed import Hashes, Whole

_PENDING = 1 << 20
"""Hashes that are gathered before they are counted."""


class HashCounts:
    """A table of hashes and counts that grows."""

    def __init__(self, hashes: Hashes | None = None, counts: Whole | None = None) -> None:
        self._hashes = np.zeros(0, np.uint64) if hashes is None else hashes
        self._counts = np.zeros(0, np.int64) if counts is None else counts
        self._more: list[tuple[Hashes, Whole]] = []
        self._pending = 0

    def add(self, hashes: Hashes) -> None:
        """Count hashes, repeats included, [N]."""
        self.add_counted(*np.unique(hashes, return_counts=True))

    def merge(self, other: "HashCounts") -> None:
        """Add another table's counts."""
        self.add_counted(other.hashes(), other.counts())

    def add_counted(self, hashes: Hashes, counts: Whole) -> None:
        """Add to the counts of hashes, [N] and [N]."""
        self._more.append((hashes, counts.astype(np.int64)))
        self._pending += len(hashes)
        # Waiting until there is as much new as old makes the work linear in what was added, but for a logarithm.
        if self._pending > max(_PENDING, len(self._hashes)):
            self._settle()

    def hashes(self) -> Hashes:
        """Return the different hashes, sorted, [V]."""
        self._settle()
        return self._hashes

    def counts(self) -> Whole:
        """Return how often each came up, [V]."""
        self._settle()
        return self._counts

    def _settle(self) -> None:
        if not self._more:
            return
        parts = [(self._hashes, self._counts), *self._more]
        hashes = np.concatenate([part for part, _ in parts])
        counts = np.concatenate([part for _, part in parts])
        order = np.argsort(hashes, kind="stable")
        hashes, counts = hashes[order], counts[order]
        first = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]])) if len(hashes) else order
        self._counts = np.add.reduceat(counts, first) if len(first) else counts
        self._hashes = hashes[first]
        self._more, self._pending = [], 0
