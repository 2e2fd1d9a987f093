"""What a page about a run shows, gathered from its rows: images chosen by hash, and lengths counted on the way.

Rows are read unit by unit, so a run of any size fits; of a very large one, whole units chosen by hash are read.
"""

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from captioners.core.entry import Entry
from captioners.core.run_dir import RunDir

MOST_ROWS = 2_000_000
"""Rows that are read at most (but for the last unit's)."""

Chosen = tuple[str, str, str, str]
"""A sample: its hash, image sha256, shard and key."""


@dataclass
class Gathered:
    """What was found."""

    samples: list[dict[str, Any]] = field(default_factory=list)
    """shard, key, index and rows (member -> rows by draw), in the order of shards and samples."""
    lengths: dict[str, Counter[int]] = field(default_factory=dict)
    """Member -> tokens -> captions."""
    refused: Counter[str] = field(default_factory=Counter)
    """Member -> captions that a rule refused."""
    rows_read: int = 0
    rows: int = 0
    """Of the whole run, by its ledger."""
    images: int = 0
    """Different samples with captions among the rows read."""


def gather(run: RunDir, entries: Iterable[Entry], images: int, seed: int) -> Gathered:
    """Return `images` samples with all their rows, and the lengths of all captions read; `seed` chooses others."""
    units: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        units.setdefault((entry.shard, entry.part), []).append(entry)
    found = Gathered(rows=sum(entry.counts.rows for unit in units.values() for entry in unit))
    order = sorted(units)
    if found.rows > MOST_ROWS:
        order.sort(key=lambda unit: _hash(seed, *map(str, unit)))
    chosen: list[Chosen] = []
    for unit in order:
        if found.rows_read >= MOST_ROWS:
            break
        chosen = heapq.nsmallest(images, {*chosen, *_read(run, units[unit], found, seed)})
    _fetch(run, [entry for unit in order for entry in units[unit]], chosen, found)
    return found


def _hash(seed: int, *names: str) -> str:
    return sha256("\x1f".join((str(seed), *names)).encode()).hexdigest()


def _read(run: RunDir, entries: Iterable[Entry], found: Gathered, seed: int) -> set[Chosen]:
    """Count one unit's captions; return its samples with their hashes."""
    samples: set[tuple[str, str, str]] = set()
    for entry in entries:
        table = run.rows(entry)
        lengths = found.lengths.setdefault(entry.layer, Counter())
        lengths.update(table["num_tokens"].to_pylist())
        found.refused[entry.layer] += table["keep"].to_pylist().count(False)
        found.rows_read += table.num_rows
        names = (table[name].to_pylist() for name in ("image_sha256", "shard", "key"))
        samples.update(zip(*names, strict=True))
    found.images += len(samples)
    return {(_hash(seed, *sample), *sample) for sample in samples}


def _fetch(run: RunDir, entries: Iterable[Entry], chosen: Iterable[Chosen], found: Gathered) -> None:
    """Read the rows of the chosen samples."""
    wanted: dict[str, dict[str, dict[str, Any]]] = {}
    for _, _, shard, key in chosen:
        wanted.setdefault(shard, {})[key] = {"shard": shard, "key": key, "index": 0, "rows": {}}
    for entry in entries:
        here = wanted.get(entry.shard, {})
        if not here:
            continue
        table = run.rows(entry)
        keep = [key in here for key in table["key"].to_pylist()]
        for row in table.filter(keep).to_pylist():
            sample = here[row["key"]]
            sample["index"] = row["index"]
            sample["rows"].setdefault(entry.layer, []).append(row)
    samples = [sample for shard in wanted.values() for sample in shard.values()]
    found.samples = sorted(samples, key=lambda sample: (sample["shard"], sample["index"]))
