"""The source `mixture`: several sources read as one, each with a weight that training keeps to.

In training, of every (sum of weights) samples in a row each part gives exactly its weight, in a drawn order; a part
that runs out begins its next epoch, in a new order, while others are still in theirs. So weights 2 and 1 over sets of
100 and 1,000 images show an image of the first 20 times as often. What only reads (`check`, `caption`) reads every
part once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Field

from captioners.core.options import Options
from captioners.data.source import Sample, Shard, Source, SourceOptions, Unreadable, describe, sources, unstamped

if TYPE_CHECKING:
    AnyPart = SourceOptions
else:
    # Every other source: this one registers only below.
    _models = tuple(sources.get(name) for name in sources.names() if name != "mixture")
    AnyPart = Annotated[Union[_models], Field(discriminator="kind")]  # noqa: UP007


class Part(Options):
    """One source of a mixture."""

    source: AnyPart
    """Any source but a mixture."""
    weight: int = Field(1, ge=1, le=1000)
    """How many samples it gives, against those of the other parts."""


@sources.register("mixture")
class MixtureOptions(SourceOptions):
    """Several sources as one, with weights."""

    kind: Literal["mixture"] = "mixture"
    parts: list[Part] = Field(min_length=1)
    """Sources with their weights: `[{source: {...}, weight: 2}, {source: {...}}]`."""

    def open(self) -> "MixtureSource":
        """Return the source."""
        return MixtureSource([(part.source.open(), part.weight) for part in self.parts])


class MixtureSource:
    """Reads several sources; see `captioners.data.source.Source`."""

    def __init__(self, parts: Sequence[tuple[Source, int]]) -> None:
        self._sources = [source for source, _ in parts]
        self.weights = tuple(weight for _, weight in parts)

    def describe(self) -> tuple[str, ...]:
        """Return what the parts tell, each with its number."""
        numbered = enumerate(self._sources, start=1)
        return tuple(f"part {number}: {line}" for number, source in numbered for line in describe(source))

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return the shards of all parts, those frozen first."""
        found = []
        for part, source in enumerate(self._sources):
            before = [_inner(shard) for shard in frozen if part_of(shard) == part]
            found += [_outer(part, shard) for shard in source.shards(before)]
        kept = {shard.path for shard in frozen}
        return [*frozen, *(shard for shard in found if shard.path not in kept)]

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard of whichever part it is of."""
        for row in self._sources[part_of(shard)].samples(_inner(shard), start):
            yield replace(row, shard=shard.path)

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:
        """Return one image of whichever part the shard is of."""
        return self._sources[part_of(shard)].image(_inner(shard), key, offset, size)

    def unstamped(self, shard: Shard) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield what the part's own source does; see `data.source.unstamped`."""
        yield from unstamped(*self.source_of(shard))

    def source_of(self, shard: Shard) -> tuple[Source, Shard]:
        """Return the part's own source and shard."""
        return self._sources[part_of(shard)], _inner(shard)


def weights_of(source: Source) -> tuple[int, ...]:
    """Return the weights of a source's parts; a source that is no mixture is one part."""
    return source.weights if isinstance(source, MixtureSource) else (1,)


def part_of(shard: Shard) -> int:
    """Return which part of a mixture a shard is of; 0 for a shard of any other source."""
    mixture = shard.where.get("mixture")
    return mixture["part"] if isinstance(mixture, dict) else 0


def _outer(part: int, shard: Shard) -> Shard:
    where = {"mixture": {"part": part, "path": shard.path}, "where": shard.where}
    return replace(shard, path=f"{part + 1}/{shard.path}", where=where)


def _inner(shard: Shard) -> Shard:
    return replace(shard, path=shard.where["mixture"]["path"], where=shard.where["where"])
