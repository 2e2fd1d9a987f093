"""The ledger: one entry per finished unit; only an entry makes a layer's file exist for readers.

A unit is one part of one shard for one layer. Its entry is created exclusively, after its file is safely written: of
two workers that did the same unit, one entry stands, and the other's file is an orphan that nobody reads.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from captioners.core.errors import NotFoundError, UserError
from captioners.core.storage import Place

_LONGEST_NAME = 120


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The two sums that hold for every unit: read = captioned + filtered + quarantined, rows = captioned x draws.

    A filtered sample keeps its rows, with `keep = false` where a rule refused the caption, so they count as rows, too:
    rows = (captioned + filtered) x draws.
    """

    read: int = 0
    captioned: int = 0
    filtered: int = 0
    quarantined: int = 0
    rows: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def problem(self, draws: int) -> str | None:
        """Say which sum does not hold, or None."""
        if self.read != self.captioned + self.filtered + self.quarantined:
            return (
                f"read {self.read} is not captioned {self.captioned} + filtered {self.filtered} + "
                f"quarantined {self.quarantined}"
            )
        if self.rows != (self.captioned + self.filtered) * draws:
            return f"{self.rows} rows are not {self.captioned + self.filtered} samples x {draws} draws"
        return None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What became of one unit."""

    layer: str
    fingerprint: str
    shard: str
    part: int
    start: int
    """First sample number of the part."""
    stop: int
    """Sample number after its last one; shard-level quarantine records do not count."""
    last: bool
    """Whether the shard ends with this part."""
    counts: Counts
    file: str
    """Name of the rows' file in the run; empty when the part has no rows."""
    digest: str
    """Content digest of the rows."""
    file_sha256: str = ""
    quarantine_file: str = ""
    """Name of a JSONL file with a record per quarantined sample; empty when there is none."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Quarantine reason -> records; a fault of the shard itself is one here, and in no sum of samples."""
    flags: dict[str, int] = field(default_factory=dict)
    """Flag -> rows."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Shares of the worker's time in this unit: waiting, encoding, decoding, writing."""
    environment: dict[str, str] = field(default_factory=dict)
    """Versions, device, dtype, threads: what a caption may depend on besides its layer's meaning."""
    finished: str = ""
    """UTC, ISO 8601."""


def slug(path: str) -> str:
    """Return a file name for a shard's path: different for different paths, the same everywhere.

    >>> slug("00/0.tar")
    '00%2F0.tar'
    """
    name = quote(path, safe="")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 17]}-{sha256(path.encode()).hexdigest()[:16]}"


class Ledger:
    """The entries of one run."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def commit(self, entry: Entry) -> bool:
        """Create the unit's entry; False if another worker was first, whose rows then stand."""
        data = json.dumps(asdict(entry), sort_keys=True, ensure_ascii=False, indent=1) + "\n"
        return self._place.create(self.name(entry.layer, entry.shard, entry.part), data.encode())

    @staticmethod
    def name(layer: str, shard: str, part: int) -> str:
        """Return the name of a unit's entry."""
        return f"ledger/{slug(layer)}/{slug(shard)}.{part:05d}.json"

    def find(self, layer: str, shard: str, part: int) -> Entry | None:
        """Return a unit's entry, or None while it is not done."""
        name = self.name(layer, shard, part)
        try:
            return self.read(name)
        except NotFoundError:
            return None

    def entries(self, layers: Iterable[str] | None = None) -> Iterator[Entry]:
        """Yield all entries, or those of some layers, sorted by layer, shard name and part.

        Raises:
            UserError: an entry is damaged; it names the file, whose removal makes its unit be done again.
        """
        folders = ["ledger"] if layers is None else [f"ledger/{slug(layer)}" for layer in layers]
        for folder in folders:
            for name in self._place.names(folder):
                entry = self.read(name)
                if entry is not None:
                    yield entry

    def read(self, name: str) -> Entry | None:
        """Return the entry of that name; None if the name is taken and not yet filled. Raises as `entries` does."""
        data = self._place.read(name)
        if not data:
            return None  # a name taken but not yet filled, on file systems without hard links
        try:
            found: dict[str, Any] = json.loads(data)
            known = {f.name for f in fields(Entry)}
            return Entry(**{k: v for k, v in found.items() if k in known} | {"counts": Counts(**found["counts"])})
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{self._place.at(name)}: a damaged ledger entry ({error}); remove it, and its unit is done again"
            ) from None

    def forget(self, units: Iterable[tuple[str, str, int]]) -> None:
        """Open units (layer, shard, part) again: their entries are gone, and their files belong to nobody."""
        for unit in units:
            self._place.remove(self.name(*unit))

    def clear_unfinished(self) -> int:
        """Remove names that were taken and never filled; return how many. Only while no worker runs."""
        empty = [name for name in self._place.names("ledger") if not self._place.read(name, 0, 1)]
        for name in empty:
            self._place.remove(name)
        return len(empty)
