"""Sums over a ledger's table (`Ledger.table`): millions of entries in seconds, without reading anything else."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from captioners.core.entry import Counts, Entry, Unit
from captioners.core.ledger import Ledger
from captioners.core.segments import encoded

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A reason for quarantine."""

    reason: str
    count: int
    """Samples (or shards), each counted once though several members met it."""
    unit: Unit
    """One that met it."""


def codes(table: "pa.Table", column: str) -> "tuple[Array, list[str]]":
    """Return a column of words as numbers, and the words."""
    import numpy as np

    found = table[column]
    found = found.chunk(0) if found.num_chunks == 1 else encoded(found).chunk(0)
    return np.asarray(found.indices.fill_null(0)), found.dictionary.to_pylist() or [""]


def numbers(table: "pa.Table", column: str) -> "Array":
    """Return a column of counts; nothing is 0."""
    import numpy as np

    return np.asarray(table[column].combine_chunks().fill_null(0))


@dataclass(frozen=True)
class Tally:
    """A column of {word: number} flat: of each pair its row, its word as a number, and its number."""

    rows: "Array"
    codes: "Array"
    words: list[str]
    numbers: "Array"

    def sums(self) -> dict[str, float]:
        """Return the sum of each word, the largest first."""
        import numpy as np

        found = np.bincount(self.codes, self.numbers, len(self.words))
        return {self.words[at]: float(found[at]) for at in np.argsort(-found, kind="stable") if found[at]}

    def by(self, group: "Array", groups: int) -> list[dict[str, float]]:
        """Return the sums of each group; `group`: of each row of the table."""
        import numpy as np

        place = group[self.rows].astype(np.int64) * len(self.words) + self.codes
        found = np.bincount(place, self.numbers, groups * len(self.words)).reshape(groups, len(self.words))
        order = np.argsort(-found, axis=1, kind="stable")
        return [
            {self.words[at]: float(row[at]) for at in places if row[at]}
            for row, places in zip(found, order, strict=True)
        ]


def tally(table: "pa.Table", column: str) -> Tally:
    """Return a column of {word: number} flat."""
    import numpy as np

    found = table[column].combine_chunks()
    found = found.chunk(0) if hasattr(found, "num_chunks") else found
    offsets = np.asarray(found.offsets) if len(found) else np.zeros(1, np.int64)
    rows = np.repeat(np.arange(len(found)), np.diff(offsets))
    keys = found.keys.slice(int(offsets[0]), len(rows)).dictionary_encode()
    values = found.items.slice(int(offsets[0]), len(rows))
    return Tally(rows, np.asarray(keys.indices), keys.dictionary.to_pylist(), np.asarray(values))


def by_layer(table: "pa.Table") -> dict[str, Counts]:
    """Return the sums of each layer."""
    import numpy as np

    layer, names = codes(table, "layer")
    sums = {f.name: np.bincount(layer, numbers(table, f.name), len(names)) for f in fields(Counts)}
    present = np.bincount(layer, minlength=len(names))
    return {
        name: Counts(**{field: int(sums[field][at]) for field in sums}) for at, name in enumerate(names) if present[at]
    }


@dataclass(frozen=True)
class Whole:
    """Which shards each layer has to their end: `(layer, shard) in whole`."""

    layers: dict[str, int]
    shards: dict[str, int]
    done: "Array"
    """[layers, shards]"""
    samples: "Array"
    """[layers, shards]: read so far."""
    sizes: "Array"
    """[shards]: samples, as a layer found that read it to its end; -1: none did."""

    def __contains__(self, unit: object) -> bool:
        layer, shard = unit if isinstance(unit, tuple) else ("", "")
        row, column = self.layers.get(layer), self.shards.get(shard)
        return row is not None and column is not None and bool(self.done[row, column])


def whole_shards(table: "pa.Table") -> Whole:
    """Return which shards are done: their parts are numbered without a gap, and the last one ends the shard."""
    import numpy as np

    layer, layers = codes(table, "layer")
    shard, shards = codes(table, "shard")
    shape = len(layers), len(shards)
    key, part = layer.astype(np.int64) * shape[1] + shard, numbers(table, "part").astype(np.int64)
    last = np.asarray(table["last"].combine_chunks().fill_null(False))
    count = np.bincount(key, minlength=shape[0] * shape[1])
    places = np.bincount(key, part, len(count)).astype(np.int64)
    end = np.full(len(count), -1)
    end[key[last]] = part[last] + 1
    stop = numbers(table, "stop")
    read = np.bincount(key, stop - numbers(table, "start"), len(count)).astype(np.int64)
    sizes = np.full(shape[1], -1)
    sizes[shard[last]] = stop[last]
    done = (count == end) & (places == end * (end - 1) // 2)
    names = {name: at for at, name in enumerate(layers)}, {name: at for at, name in enumerate(shards)}
    return Whole(*names, done.reshape(shape), read.reshape(shape), sizes)


def one_layer_each(table: "pa.Table") -> "pa.Table":
    """Return the rows of one layer for each part of each shard: what is read is the same for all."""
    import numpy as np

    shard, _ = codes(table, "shard")
    layer, _ = codes(table, "layer")
    order = np.argsort(layer, kind="stable")  # the same layer for all parts of a shard, wherever they stand
    key = (shard.astype(np.int64) << 32 | numbers(table, "part"))[order]
    return table.take(order[np.unique(key, return_index=True)[1]])


def quarantine(table: "pa.Table") -> list[Lost]:
    """Return what could not be read, by reason, the most frequent first; each sample counts once."""
    import numpy as np

    once = one_layer_each(table)
    found = tally(once, "reasons")
    counts = np.bincount(found.codes, found.numbers, len(found.words))
    _, first = np.unique(found.codes, return_index=True)
    lost = []
    for reason, count, at in zip(found.words, counts, first, strict=True):
        unit = once.slice(int(found.rows[at]), 1).select(["layer", "shard", "part"]).to_pylist()[0]
        lost.append(Lost(reason=reason, count=int(count), unit=(unit["layer"], unit["shard"], unit["part"])))
    return sorted(lost, key=lambda one: (-one.count, one.reason))


def lost_shares(table: "pa.Table") -> tuple[float, float]:
    """Return the share of samples that could not be read, and of shards that have a fault of their own."""
    import numpy as np

    once = one_layer_each(table)
    read, quarantined = numbers(once, "read").sum(), numbers(once, "quarantined")
    reasons = tally(once, "reasons")
    faulty = np.bincount(reasons.rows, reasons.numbers, len(once)) > quarantined
    shard, names = codes(once, "shard")
    shards = len(np.unique(shard)) if len(names) else 0
    return float(quarantined.sum() / max(read, 1)), len(np.unique(shard[faulty])) / max(shards, 1)


def last_shards(ledger: Ledger, table: "pa.Table", most: int) -> list[Entry]:
    """Return the entries of the shards that were worked on last, of one layer each, in the order of time."""
    import numpy as np
    import pyarrow.compute as pc

    if not len(table):
        return []
    shard, _ = codes(table, "shard")
    latest = pc.sort_indices(table.select(["finished"]), sort_keys=[("finished", "descending")])
    chosen = dict[int, None]()
    for at in latest.to_numpy():
        chosen.setdefault(int(shard[at]))
        if len(chosen) == most:
            break
    wanted = table.filter(np.isin(shard, list(chosen)))
    rows = one_layer_each(wanted).select(["layer", "shard", "part"]).to_pylist()
    found = (ledger.find(row["layer"], row["shard"], row["part"]) for row in rows)
    return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.finished)
