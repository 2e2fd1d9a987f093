"""The finished units of a run in one fixed order, all members of a unit together, whatever the size of the run.

The ledger is read once, and 16 bytes are kept of each entry; entries are fetched again when their turn comes, those of
many units at once.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import numpy as np

from captioners.core.entry import Entry
from captioners.core.errors import UserError
from captioners.core.layers import Layer
from captioners.core.run_dir import RunDir

_MOST_PARTS = 1 << 24
_FIRST_UNITS, _MOST_ENTRIES = 8, 10_000
"""Units that are fetched first, then ever twice as many, up to so many entries (some 40 MB)."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A part of a shard that every member has finished."""

    number: int
    """Its place in the order, from 0."""
    shard: str
    part: int
    entries: Mapping[str, Entry]
    """Member -> its entry, members in their order."""


class RunUnits:
    """A run's units, sorted by shard (its path) and part, as far as its ledger goes now."""

    def __init__(self, run: RunDir, names: Collection[str] | None = None) -> None:
        """Read the ledger. Raises UserError for a run without layers, or with a damaged entry.

        Args:
            names: of the members that count, all others might not be there; default: all.
        """
        self.run = run
        self.layers: list[Layer] = [layer for layer in run.layers() if names is None or layer.name in names]
        """Sorted by name."""
        if not self.layers:
            raise UserError(f"{run.url}: no member has begun, so there are no captions yet")
        self.shards: list[str] = sorted(str(shard["path"]) for shard in run.inputs())
        members = {layer.name: number for number, layer in enumerate(self.layers)}
        places = {shard: number for number, shard in enumerate(self.shards)}
        codes, finished = array("q"), array("d")
        self.flags: set[str] = set()
        """All that its captions have."""
        for entry in run.entries(None if names is None else members):
            self.flags.update(entry.flags)
            unit = places[entry.shard] * _MOST_PARTS + entry.part
            codes.append((unit * len(members) + members[entry.layer]) * 2 + entry.last)
            finished.append(datetime.fromisoformat(entry.finished).timestamp() if entry.finished else 0.0)
        found = np.array(codes, dtype=np.int64)
        order = np.argsort(found)
        self._codes, self._finished = found[order], np.array(finished, dtype=np.float64)[order]
        units, counts = np.unique(self._codes // (2 * len(members)), return_counts=True)
        self._units: Sequence[int] = units[counts == len(members)].tolist()
        self.halves = int((counts < len(members)).sum())
        """Units that some members have finished, and others not yet."""

    def __len__(self) -> int:
        return len(self._units)

    def of_shard(self, shard: str) -> range:
        """Return the numbers of a shard's units."""
        place = bisect_left(self.shards, shard) * _MOST_PARTS
        return range(bisect_left(self._units, place), bisect_left(self._units, place + _MOST_PARTS))

    @property
    def finished_shards(self) -> list[str]:
        """Shards that every member has read to their end, sorted."""
        members = len(self.layers)
        last, layer = self._codes % 2, self._codes // 2 % members
        shard, part = np.divmod(self._codes // (2 * members), _MOST_PARTS)
        pair = shard * members + layer
        found = np.bincount(pair, minlength=len(self.shards) * members)
        # Numbered without a gap to the part that ends the shard: as many entries as its number says.
        ends = np.zeros_like(found)
        ends[pair[last == 1]] = part[last == 1] + 1
        whole = ((found == ends) & (ends > 0)).reshape(-1, members).all(axis=1)
        return [self.shards[place] for place in np.flatnonzero(whole)]

    @property
    def digest(self) -> str:
        """A sha256 over which units there are, of which layers: another one when the run has gone on."""
        about = "\n".join([*(layer.fingerprint for layer in self.layers), *self.shards])
        return sha256(about.encode() + self._codes.tobytes()).hexdigest()

    def units(self, start: int = 0, stop: int | None = None) -> Iterator[Unit]:
        """Yield the units from number `start` on, to before number `stop`.

        Raises:
            UserError: an entry is damaged, or was taken away meanwhile.
        """
        stop, size = len(self) if stop is None else stop, _FIRST_UNITS
        while start < stop:
            yield from self._fetched(range(start, min(start + size, stop)))
            start, size = start + size, max(1, min(2 * size, _MOST_ENTRIES // len(self.layers)))

    def _fetched(self, numbers: range) -> Iterator[Unit]:
        """Yield units whose entries are fetched in the order of time: so they lie in segments, of which one is open."""
        members = len(self.layers)
        units = np.array([self._units[number] for number in numbers], dtype=np.int64)
        # A whole unit's codes are neighbours, in the order of its members.
        at = np.searchsorted(self._codes, units * (2 * members))[:, None] + np.arange(members)
        found: dict[int, Entry] = {}
        for one in np.argsort(self._finished[at].ravel(), kind="stable").tolist():
            place, part = divmod(int(units[one // members]), _MOST_PARTS)
            found[one] = self._entry(self.layers[one % members], self.shards[place], part)
        for row, number in enumerate(numbers):
            place, part = divmod(int(units[row]), _MOST_PARTS)
            entries = {layer.name: found[row * members + column] for column, layer in enumerate(self.layers)}
            yield Unit(number=number, shard=self.shards[place], part=part, entries=entries)

    def _entry(self, layer: Layer, shard: str, part: int) -> Entry:
        found = self.run.ledger.find(layer.name, shard, part)
        if found is None or found.fingerprint != layer.fingerprint:
            raise UserError(
                f"{self.run.url}: shard {shard}, part {part} of member '{layer.name}' was taken away meanwhile; "
                "run the same command again"
            )
        return found
