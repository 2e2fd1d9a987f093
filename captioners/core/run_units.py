"""The finished units of a run in one fixed order, all members of a unit together, whatever the size of the run.

The ledger is read once, and 8 bytes are kept of each entry; a unit's entries are fetched again when their turn comes.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from captioners.core.entry import Entry
from captioners.core.errors import UserError
from captioners.core.layers import Layer
from captioners.core.run_dir import RunDir

_MOST_PARTS = 1 << 24


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

    def __init__(self, run: RunDir) -> None:
        """Read the ledger. Raises UserError for a run without layers, or with a damaged entry."""
        self.run = run
        self.layers: list[Layer] = run.layers()
        """Sorted by name."""
        if not self.layers:
            raise UserError(f"{run.url}: no member has begun, so there are no captions yet")
        self.shards: list[str] = sorted(str(shard["path"]) for shard in run.inputs())
        members = {layer.name: number for number, layer in enumerate(self.layers)}
        places = {shard: number for number, shard in enumerate(self.shards)}
        codes = array("q")
        self.flags: set[str] = set()
        """All that its captions have."""
        for entry in run.entries():
            self.flags.update(entry.flags)
            unit = places[entry.shard] * _MOST_PARTS + entry.part
            codes.append((unit * len(members) + members[entry.layer]) * 2 + entry.last)
        self._codes = np.sort(np.frombuffer(codes, dtype=np.int64)) if codes else np.empty(0, np.int64)
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
        for number in range(start, len(self) if stop is None else stop):
            place, part = divmod(self._units[number], _MOST_PARTS)
            shard = self.shards[place]
            entries = {layer.name: self._entry(layer, shard, part) for layer in self.layers}
            yield Unit(number=number, shard=shard, part=part, entries=entries)

    def _entry(self, layer: Layer, shard: str, part: int) -> Entry:
        found = self.run.ledger.find(layer.name, shard, part)
        if found is None or found.fingerprint != layer.fingerprint:
            raise UserError(
                f"{self.run.url}: shard {shard}, part {part} of member '{layer.name}' was taken away meanwhile; "
                "run the same command again"
            )
        return found
