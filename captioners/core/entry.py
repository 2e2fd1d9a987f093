"""An entry of the ledger: what became of one unit, and the sums that hold for it."""

import json
from dataclasses import dataclass, field, fields
from typing import Any

from captioners.core.errors import UserError

Unit = tuple[str, str, int]
"""Layer, shard, part."""


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
    attempt: str = ""
    """Under which name the file was written, until this entry stood: then it got its own (`core/shard_files.py`)."""
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
    kept: int | None = None
    """Rows that no rule refused; None in entries of older versions."""
    worker: str = ""
    """Which process made it: host, process number, rank."""
    alarms: list[dict[str, Any]] = field(default_factory=list)
    """What needs a look though every rule was kept, such as one caption for much of a shard."""
    repeated: dict[str, int] = field(default_factory=dict)
    """Image sha256 -> samples, of the pictures that the unit has most often, three times or more."""

    @property
    def unit(self) -> Unit:
        """What the entry is of."""
        return self.layer, self.shard, self.part


def parsed(data: bytes, where: str) -> Entry | None:
    """Return the entry of a text; None of an empty one. Raises UserError for a damaged one, which stands at `where`."""
    if not data:
        return None  # a name taken but not yet filled, on file systems without hard links
    try:
        found: dict[str, Any] = json.loads(data)
        known = {f.name for f in fields(Entry)}
        return Entry(**{k: v for k, v in found.items() if k in known} | {"counts": Counts(**found["counts"])})
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{where}: a damaged ledger entry ({error}); remove it, and its unit is done again") from None


def sound(data: bytes) -> bool:
    """Whether an entry can be rolled into a segment; a damaged one stays for people to see."""
    try:
        return parsed(data, "") is not None
    except UserError:
        return False
