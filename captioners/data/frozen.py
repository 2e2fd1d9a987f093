"""The shards that a streaming run reads, with the number of their samples: found once, then kept for every restart.

Positions are counted in them, so they must be the same for all ranks and at every start. Samples are counted from what
the source knows, else from the headers of a tar, else by reading; what is added to the source later is not read.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from captioners.core.errors import UserError
from captioners.data.choices import Captions
from captioners.data.mixture_source import MixtureSource
from captioners.data.source import Sample, Shard, Source

_READERS = 8


@dataclass(frozen=True)
class Counted:
    """A shard and how many samples of a run are in it."""

    shard: Shard
    samples: int
    """Images, or captions with `per_caption`."""


def frozen_shards(
    source: Source,
    file: str | Path,
    captions: Captions = "random_per_image",
    seen: Callable[[int], None] = lambda _: None,
) -> list[Counted]:
    """Return the shards of a run that hold samples; `file` is written at the first start and read at later ones.

    With several processes one calls this before the others do. `seen` is told how many shards are counted.

    Raises:
        UserError: a shard is gone or has changed since the first start, or there is no sample at all.
    """
    path = Path(file)
    if path.is_file():
        kept = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        counted = [Counted(Shard(**line["shard"]), line["samples"]) for line in kept]
        source.shards([entry.shard for entry in counted])
        return counted
    shards = source.shards()
    counted = []
    with ThreadPoolExecutor(_READERS) as pool:
        for number, samples in enumerate(pool.map(lambda shard: _count(source, shard, captions), shards)):
            counted += [Counted(shards[number], samples)] if samples else []
            seen(number + 1)
    if not counted:
        raise UserError(f"the source holds no sample: {len(shards):,} shards were looked into")
    draft = path.with_name(f".{path.name}.part")
    draft.write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in counted), encoding="utf-8")
    draft.replace(path)
    return counted


def digest_of(shards: Sequence[Counted]) -> str:
    """Return a sha256 over what decides positions: names, sizes in bytes and samples of the shards, in order."""
    lines = [[entry.shard.path, entry.shard.size, entry.samples] for entry in shards]
    return sha256(json.dumps(lines).encode()).hexdigest()


def _count(source: Source, shard: Shard, captions: Captions) -> int:
    """Count by a source's own `count(shard) -> int`, which is to be cheap; or by what the shard says; or by reading."""
    if isinstance(source, MixtureSource):
        return _count(*source.source_of(shard), captions)
    if captions == "per_caption":
        return sum(len(found.captions) for found in source.samples(shard) if isinstance(found, Sample))
    count: Callable[[Shard], int] | None = getattr(source, "count", None)
    if count is not None:
        return count(shard)
    if shard.count is not None:
        return shard.count
    return sum(isinstance(found, Sample) for found in source.samples(shard))
