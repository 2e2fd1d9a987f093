"""Caption sets: some captions of each image, by one member or several, of one run or several, read group by group.

A set takes the first so many draws of each of its parts, so a smaller set is a prefix of a larger one. What a run's
rules refused is left out, and an image may then have fewer captions than the set says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b, sha256
from itertools import pairwise
from typing import TYPE_CHECKING

from captioners.core.errors import UserError, near
from captioners.core.layers import Layer
from captioners.core.run_dir import RunDir, open_run
from captioners.core.run_units import RunUnits, Unit
from captioners.data.run_pictures import RunPictures
from captioners.data.source import Sample

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Part:
    """The captions of one member."""

    run: str
    """As `open_run` takes it."""
    member: str
    draws: int | None = None
    """The first so many of each image; None: all that it made."""


@dataclass(frozen=True)
class CaptionSet:
    """What is measured as one: a row of a table."""

    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One image and what a set has of it."""

    shard: str
    key: str
    index: int
    image_sha256: str
    offset: int | None
    size: int
    captions: tuple[str, ...]
    """That were kept, part after part, in the order of draws."""
    flags: tuple[tuple[str, ...], ...]
    """Of every caption drawn, those that were refused among them."""
    refused: int

    @property
    def id(self) -> int:
        """64 bits: the same for the same picture under the same key, whatever the run."""
        name = f"{self.shard}\0{self.key}\0{self.image_sha256}"
        return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Neighbouring samples of a shard that every part of a set has finished: what is read at a time."""

    shard: str
    start: int
    """Sample number of the first one, and the number after the last."""
    stop: int
    units: Mapping[str, tuple[Unit, ...]]
    """By run, as parts name it: those that make the group up."""

    @property
    def digest(self) -> str:
        """A sha256 over its captions, those of members outside the set apart."""
        digests = [entry.digest for units in self.units.values() for unit in units for entry in unit.entries.values()]
        return sha256("\n".join(digests).encode()).hexdigest()


class OpenSet:
    """A caption set whose runs are open."""

    def __init__(self, given: CaptionSet) -> None:
        """Open its runs.

        Raises:
            NotFoundError: no such run. UserError: no such member, or one that made fewer draws than are asked for.
        """
        if not given.parts:
            raise UserError(f"{given.name}: a caption set of no parts; name a member at least")
        self.name, self.parts = given.name, given.parts
        self.first = given.parts[0].run
        """The first of its runs, as parts name it: where its pictures are looked for, and its measures lie."""
        self.runs: dict[str, RunDir] = {part.run: open_run(part.run) for part in given.parts}
        """As parts name them."""
        self.layers: list[Layer] = [_layer(self.runs[part.run], part) for part in given.parts]
        """Of each part."""
        self.draws: list[int] = [
            layer.draws if part.draws is None else part.draws
            for part, layer in zip(given.parts, self.layers, strict=True)
        ]
        self._units = {
            name: RunUnits(run, {part.member for part in given.parts if part.run == name})
            for name, run in self.runs.items()
        }

    @cached_property
    def pictures(self) -> RunPictures:
        """What its captions are of, as the first of its runs found it."""
        return RunPictures(self.runs[self.first])

    def samples(self, group: Group) -> Iterator[Sample]:
        """Read the samples of a group again, where the first of its runs found them; raises as `RunPictures` does."""
        for sample in self.pictures.samples(group.shard, group.start, group.stop):
            if isinstance(sample, Sample):
                yield sample

    @property
    def m(self) -> int:
        """Captions of an image that none was refused of."""
        return sum(self.draws)

    @property
    def fingerprint(self) -> str:
        """A sha256 over the layers and how many draws of each: the same captions, whatever the set is called."""
        told = [f"{layer.fingerprint} {draws}" for layer, draws in zip(self.layers, self.draws, strict=True)]
        return sha256("\n".join(told).encode()).hexdigest()

    @property
    def flags(self) -> set[str]:
        """All flags that captions of its members have."""
        return set().union(*(units.flags for units in self._units.values()))

    def groups(self) -> Iterator[Group]:
        """Yield what every part has finished, shard by shard in their order."""
        shared = set.intersection(*(set(units.shards) for units in self._units.values()))
        for shard in sorted(shared):
            numbers = {name: units.of_shard(shard) for name, units in self._units.items()}
            if all(numbers.values()):
                yield from _cut(shard, {n: list(self._units[n].units(at.start, at.stop)) for n, at in numbers.items()})

    def read(self, group: Group) -> list[CaptionedImage]:
        """Return the images of a group that every part has, in the order of their samples.

        Raises:
            UserError: a file of a run is gone or damaged.
        """
        parts = [self._rows(group, part, draws) for part, draws in zip(self.parts, self.draws, strict=True)]
        first, others = parts[0], parts[1:]
        found = []
        for identity, rows in sorted(first.items(), key=lambda one: (one[1][0]["index"], one[0])):
            told = [part.get(identity) for part in others]
            if None not in told:
                found.append(_image([rows, *told]))  # type: ignore[list-item]  # None is not in it
        return found

    def _rows(self, group: Group, part: Part, draws: int) -> dict[tuple[str, str], list[dict[str, object]]]:
        """Return (key, sha256) -> the rows of a part's draws, sorted by draw."""
        found: dict[tuple[str, str], list[dict[str, object]]] = {}
        for unit in group.units[part.run]:
            table = self.runs[part.run].rows(unit.entries[part.member]).select(_COLUMNS)
            for row in _sorted(table).to_pylist():
                if row["draw"] < draws:
                    found.setdefault((row["key"], row["image_sha256"]), []).append(row)
        return found


_COLUMNS = ("key", "index", "image_sha256", "offset", "size", "shard", "draw", "keep", "text", "flags")


def _sorted(table: "pyarrow.Table") -> "pyarrow.Table":
    return table.sort_by([("index", "ascending"), ("draw", "ascending")])


def _image(parts: Sequence[Sequence[Mapping[str, object]]]) -> CaptionedImage:
    rows = [row for of_part in parts for row in of_part]
    first = {name: rows[0][name] for name in ("shard", "key", "index", "image_sha256", "offset", "size")}
    kept = tuple(str(row["text"]) for row in rows if row["keep"])
    return CaptionedImage(
        **first,  # type: ignore[arg-type]  # as the schema of a layer has them
        captions=kept,
        flags=tuple(tuple(row["flags"]) for row in rows),  # type: ignore[arg-type]
        refused=len(rows) - len(kept),
    )


def _layer(run: RunDir, part: Part) -> Layer:
    layers = {layer.name: layer for layer in run.layers()}
    if part.member not in layers:
        known = ", ".join(layers) or "none has begun"
        raise UserError(f"{run.url}: has no member '{part.member}'.{near(part.member, layers)} Members: {known}")
    layer = layers[part.member]
    if part.draws is not None and not 1 <= part.draws <= layer.draws:
        raise UserError(
            f"{run.url}: member '{part.member}' made {layer.draws} captions an image, and {part.draws} are asked for; "
            f"ask for 1 to {layer.draws}"
        )
    return layer


def _cut(shard: str, runs: Mapping[str, Sequence[Unit]]) -> Iterator[Group]:
    """Yield the smallest groups at whose ends every run has the end of a unit, without gaps in between."""
    edges = [{edge for unit in units for edge in _span(unit)} for units in runs.values()]
    for start, stop in pairwise(sorted(set.intersection(*edges))):
        inside = {name: tuple(unit for unit in units if _within(unit, start, stop)) for name, units in runs.items()}
        if all(sum(_span(unit)[1] - _span(unit)[0] for unit in units) == stop - start for units in inside.values()):
            yield Group(shard=shard, start=start, stop=stop, units=inside)


def _span(unit: Unit) -> tuple[int, int]:
    entry = next(iter(unit.entries.values()))
    return entry.start, entry.stop


def _within(unit: Unit, start: int, stop: int) -> bool:
    first, last = _span(unit)
    return start <= first and last <= stop


def sets_of_run(run: str) -> list[CaptionSet]:
    """Return each member of a run as a set, and where it has several, all of them together.

    Raises:
        NotFoundError: no such run. UserError: nothing in it has begun.
    """
    names = [layer.name for layer in open_run(run).layers()]
    if not names:
        raise UserError(f"{run}: no member has begun, so there are no captions yet")
    found = [CaptionSet(name, (Part(run, name),)) for name in names]
    if len(names) > 1:
        found.append(CaptionSet(ALL, tuple(Part(run, name) for name in names)))
    return found


ALL = "all members"
"""What the members of a run are called together."""


def images_of(sets: Iterable[CaptionSet]) -> Iterator[tuple[CaptionedImage, Mapping[str, tuple[str, ...]]]]:
    """Yield each image that all sets have, and the captions of each set by its name.

    Raises as `OpenSet` does, and UserError where two sets have one name.
    """
    opened = [OpenSet(given) for given in sets]
    names = [one.name for one in opened]
    if len(set(names)) < len(names):
        raise UserError(f"two caption sets are called the same, of {', '.join(names)}; give each a name of its own")
    together = OpenSet(CaptionSet("", tuple(dict.fromkeys(part for one in opened for part in one.parts))))
    for group in together.groups():
        told = [{image.id: image for image in one.read(group)} for one in opened]
        for identity, image in told[0].items():
            if all(identity in of_set for of_set in told):
                yield image, {name: of_set[identity].captions for name, of_set in zip(names, told, strict=True)}
