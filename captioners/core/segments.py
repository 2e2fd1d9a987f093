"""Ledger entries of long runs rolled into segments: numbered Parquet files that are created once and never change.

A row is one entry as it stood in its own small file, and beside it, in columns, what sums and searches need. Where a
segment and a small file (or two segments) speak of one unit, the earlier segment is right. A later segment may say that
what earlier ones have of a unit is removed; then the unit is open again, or has the entry that this segment brings.
"""

import errno
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from heapq import merge
from io import BytesIO
from typing import TYPE_CHECKING, Any

from captioners.core.errors import NotFoundError, UserError
from captioners.core.storage import Place

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

FOLDER = "segments"
_COUNTS = ("read", "captioned", "filtered", "quarantined", "rows")
_TALLIES = ("reasons", "flags", "seconds", "repeated")
_BATCH = 2048
_ROW_GROUP = 8192
_MOST_OPEN = 200
"""Files that are open at the same time; segments beyond are read into memory."""


def columns() -> "pa.Schema":
    """Return what stands of an entry in columns of its own: all that a sum over the run needs."""
    import pyarrow as pa

    word, count = pa.dictionary(pa.int32(), pa.string()), pa.int64()
    return pa.schema(
        [
            pa.field("unit", pa.uint64()),
            *(pa.field(name, word) for name in ("layer", "shard", "fingerprint", "worker")),
            pa.field("part", pa.int32()),
            pa.field("start", count),
            pa.field("stop", count),
            pa.field("last", pa.bool_()),
            *(pa.field(name, count) for name in (*_COUNTS, "kept", "alarms")),
            *(pa.field(name, pa.map_(pa.string(), pa.float64())) for name in _TALLIES),
            pa.field("finished", pa.string()),
        ]
    )


def unit_of(name: str) -> int:
    """Return the number that stands for an entry's name in searches: 64 bits of its sha256."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big")


def table_of(named: Sequence[tuple[str, Mapping[str, Any]]]) -> "pa.Table":
    """Return (name, entry as JSON-able fields) pairs as a table of `columns`."""
    import pyarrow as pa

    rows = [
        {
            **entry,
            **entry["counts"],
            **{tally: list(entry.get(tally, {}).items()) for tally in _TALLIES},
            "unit": unit_of(name),
            "alarms": len(entry.get("alarms", ())),
        }
        for name, entry in named
    ]
    schema = columns()
    return pa.table({field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in schema})


def encoded(words: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Return a column of words as one chunk with one dictionary; many dictionaries are slow to bring together."""
    import pyarrow as pa

    chunks = words.cast(pa.string()).chunks or [pa.array([], pa.string())]
    return pa.chunked_array([pa.concat_arrays(chunks).dictionary_encode()])


def whole(tables: Sequence["pa.Table"]) -> "pa.Table":
    """Return tables of `columns` as one, a chunk each column."""
    import pyarrow as pa

    found = pa.concat_tables(tables)
    for at, field in enumerate(found.schema):
        if pa.types.is_dictionary(field.type):
            found = found.set_column(at, field.name, encoded(found.column(at)))
    return found.combine_chunks()


@dataclass(frozen=True)
class _Index:
    """Where the entries that stand are, in all segments known."""

    names: tuple[str, ...]
    """Of the segments, in order."""
    offsets: "np.ndarray[Any, Any]"
    """Rows before each segment."""
    units: "np.ndarray[Any, Any]"
    """Of the entries that stand, sorted."""
    rows: "np.ndarray[Any, Any]"
    """The row of each, counted over all segments."""
    live: "np.ndarray[Any, Any]"
    """Of every row, whether it stands."""

    def place(self, name: str) -> tuple[int, int] | None:
        """Return the segment's number and the row in it where an entry of that name may stand."""
        unit = self.units.dtype.type(unit_of(name))  # a Python number would have the whole array converted
        at = int(self.units.searchsorted(unit))
        if at == len(self.units) or self.units[at] != unit:
            return None
        row = int(self.rows[at])
        segment = int(self.offsets.searchsorted(row, "right")) - 1
        return segment, row - int(self.offsets[segment])


class Segments:
    """The segments of one run, as far as they were looked at (`refresh`)."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._read: dict[str, tuple[Any, Any]] = {}
        self._next = 0
        self._index: _Index | None = None
        self._texts: tuple[str, Any] = ("", None)
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Take in the segments that are new."""
        with self._lock:
            names = list(self._place.names(FOLDER))
            self._next = 1 + max((int(name.rpartition("/")[2].partition(".")[0]) for name in names), default=-1)
            for name in names:
                found = None if name in self._read else self._load(name, ["unit", "removed"])
                if found is not None:
                    self._read[name] = found["unit"].to_numpy(), found["removed"].to_numpy()
            if self._index is None or len(self._read) > len(self._index.names):
                self._index = _indexed(self._read)

    def find(self, name: str) -> str | None:
        """Return the text of an entry that stands in a segment, or None; looks at what the last `refresh` found."""
        index = self._index
        place = None if index is None else index.place(name)
        if index is None or place is None:
            return None
        segment, row = place
        found = self._text(index.names[segment])
        return str(found["entry"][row]) if found["name"][row].as_py() == name else None

    def texts(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield (name, text) of the entries that stand and whose name begins so, sorted by name."""
        index = self._index
        if index is not None:
            yield from merge(*(self._of_segment(index, number, prefix) for number in range(len(index.names))))

    def table(self) -> "pa.Table":
        """Return the entries that stand as a table of `columns`, in no particular order."""
        import pyarrow as pa

        index, schema, tables = self._index, columns(), []
        for number, name in enumerate(index.names if index else ()):
            found = self._load(name, schema.names)
            if index is not None and found is not None:
                start = int(index.offsets[number])
                live = index.live[start : start + found.num_rows]
                tables.append((found if live.all() else found.filter(pa.array(live))).cast(schema))
        return pa.concat_tables(tables).unify_dictionaries() if tables else schema.empty_table()

    def add(self, entries: Sequence[tuple[str, str]], removed: Sequence[str] = ()) -> bool:
        """Write a segment of (name, text) pairs and of names to remove; False if another process took its number.

        Call `refresh` before looking for what to add: a segment that came meanwhile has the number, and this one fails.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        entries = sorted(entries)
        named = [(name, json.loads(text)) for name, text in entries]
        gone = [{"unit": unit_of(name)} for name in removed]
        table = pa.concat_tables([table_of(named), pa.Table.from_pylist(gone, schema=columns())]).combine_chunks()
        texts = [text for _, text in entries] + [""] * len(removed)
        table = table.append_column("name", pa.array([name for name, _ in entries] + list(removed), pa.string()))
        table = table.append_column("entry", pa.array(texts, pa.string()))
        table = table.append_column("removed", pa.array([False] * len(entries) + [True] * len(removed)))
        file = BytesIO()
        pq.write_table(table.unify_dictionaries(), file, compression="zstd", row_group_size=_ROW_GROUP)
        return self._place.create(f"{FOLDER}/{self._next:06d}.parquet", file.getvalue())

    def _of_segment(self, index: _Index, number: int, prefix: str) -> Iterator[tuple[str, str]]:
        file = self._open(index.names[number], in_memory=number >= _MOST_OPEN)
        at = int(index.offsets[number])
        for batch in file.iter_batches(_BATCH, columns=["name", "entry"]) if file is not None else ():
            live = index.live[at : at + batch.num_rows]
            at += batch.num_rows
            for alive, name, text in zip(live, batch["name"], batch["entry"], strict=True):
                if alive and (found := name.as_py()).startswith(prefix):
                    yield found, text.as_py()

    def _text(self, name: str) -> Any:
        if self._texts[0] != name:
            self._texts = name, self._load(name, ["name", "entry"])
        return self._texts[1]

    def _load(self, name: str, wanted: Sequence[str]) -> "pa.Table | None":
        file = self._open(name)
        return None if file is None else file.read(columns=list(wanted))

    def _open(self, name: str, in_memory: bool = False) -> Any:
        """Return a segment to read from; None while its name is taken and not yet filled."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        local = self._place.local
        try:
            if local is not None and not (local / name).stat().st_size:
                return None
            if local is not None and not in_memory:
                return pq.ParquetFile(local / name)
            return pq.ParquetFile(pa.BufferReader(self._place.read(name)))
        except (pa.ArrowInvalid, OSError, NotFoundError) as error:
            if getattr(error, "errno", None) not in (None, errno.ENOENT):
                raise  # the disk, or too many open files: not the segment
            said = " ".join(str(error).split())[:120]
            raise UserError(
                f"{self._place.at(name)}: a damaged or missing segment of the ledger ({said}); bring it back from a "
                "copy, or remove it, and its units are done again"
            ) from None


def _indexed(read: "Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]") -> _Index:
    """Say which rows stand: the first of each unit after the last removal of it."""
    import numpy as np

    names = tuple(sorted(read))
    lengths = [len(read[name][0]) for name in names]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)[: len(names)]
    units = np.concatenate([np.empty(0, np.uint64), *(read[name][0] for name in names)])
    removed = np.concatenate([np.empty(0, bool), *(read[name][1] for name in names)]).astype(bool)
    live = ~removed
    if removed.any():
        segment = np.repeat(np.arange(len(names)), lengths)
        latest = {int(unit): int(segment[at]) for at in np.flatnonzero(removed) for unit in [units[at]]}
        for at in np.flatnonzero(np.isin(units, units[removed]) & live):
            live[at] = segment[at] >= latest[int(units[at])]  # in the same segment: what takes its place
    alive = np.flatnonzero(live)
    first, places = np.unique(units[alive], return_index=True)
    live[:] = False
    live[alive[places]] = True
    return _Index(names, offsets, first, alive[places], live)
