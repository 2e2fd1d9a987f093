"""The source `run`: what a run of `generate` captioned, as pictures with their captions, to train or measure on.

Its pictures are fetched one by one from where the run found them; its captions come through a `select`. Only shards
that every member has finished are read, so a run may go on meanwhile: what it adds are further shards.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any, Literal

from captioners.core.errors import NotFoundError
from captioners.core.run_dir import open_run
from captioners.data.entries import Entry, Loaded, image_of, samples_of
from captioners.data.inputs import gone, keep_frozen
from captioners.data.licences import DataLicences
from captioners.data.run_captions import RunCaptions
from captioners.data.run_pictures import RunPictures
from captioners.data.selection import Select
from captioners.data.source import Sample, Shard, SourceOptions, Unreadable, sources
from captioners.data.texts import BadSampleError


@sources.register("run")
class RunOptions(SourceOptions):
    """The captions of a run."""

    kind: Literal["run"] = "run"
    run: str
    """The run: its directory, its name under runs/, or 'latest'."""
    select: Select = Select()
    """Which captions of each image: how many, by which rule, under which condition; all that were kept by default."""

    def own_card(self) -> str | None:
        """Return the data card of the run's own source."""
        source = self._source()
        return None if source is None else source.card or source.own_card()

    def own_licences(self) -> DataLicences:
        """Return what the captions are under: what their captioners are."""
        layers = open_run(self.run).layers()
        told = [
            f"{what}: {licence}" for layer in layers for what, licence in (layer.facts.get("licences") or {}).items()
        ]
        forbidden = any(layer.facts.get("commercial_use") == "no" for layer in layers)
        return DataLicences((), (), tuple(dict.fromkeys(told)), "no" if forbidden else "unknown")

    def open(self) -> "RunSource":
        """Return the source."""
        return RunSource(self)

    def _source(self) -> SourceOptions | None:
        given = open_run(self.run).settled().get("source") or {}
        if given.get("kind") not in sources.names():
            return None
        return sources.get(given["kind"]).model_validate(given, strict=False)


class RunSource:
    """Reads a run; see `captioners.data.source.Source`."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._found = RunCaptions(open_run(options.run), options.select)
        self._pictures = RunPictures(self._found.run)

    def describe(self) -> tuple[str, ...]:
        """Return how far the run is, and who wrote the captions."""
        units = self._found.units
        members = ", ".join(layer.name for layer in units.layers)
        return (
            f"{len(units.finished_shards):,} of {len(units.shards):,} shards of the run are finished, by {members}",
        )

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return the run's finished shards: those frozen first and unchanged."""
        found = [self._shard(path) for path in self._found.units.finished_shards]
        if not found:
            raise NotFoundError(
                f"{self._options.run}: not one shard is finished by all members; wait, or go on with it"
            )
        return keep_frozen(frozen, found)

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its sample number `start`; what the selection leaves out does not count."""
        return samples_of(shard, start, self._entries(shard))

    def count(self, shard: Shard) -> int:
        """Return how many samples a shard has, by its captions, without its pictures."""
        return sum(1 for _ in self._entries(shard))

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:  # noqa: ARG002
        """Return the bytes of one picture by its key."""
        return image_of(shard, key, self._entries(shard))

    def _shard(self, path: str) -> Shard:
        numbers = self._found.units.of_shard(path)
        entries = [e for unit in self._found.units.units(numbers.start, numbers.stop) for e in unit.entries.values()]
        stamp = sha256("\n".join(entry.digest for entry in entries).encode()).hexdigest()
        # No file of its own: its rows stand for its size.
        return Shard(path=path, size=sum(entry.counts.rows for entry in entries), stamp=stamp)

    def _entries(self, shard: Shard) -> Iterator[Entry]:
        numbers = self._found.units.of_shard(shard.path)
        if not numbers:
            raise gone(shard.path)
        for unit in self._found.selected(numbers.start, numbers.stop):
            for _, rows in groupby(unit.rows.to_pylist(), key=lambda row: row["index"]):
                yield self._entry(list(rows))

    def _entry(self, rows: list[dict[str, Any]]) -> Entry:
        first = rows[0]

        def load() -> Loaded:
            try:
                image = self._pictures.image(first)
            except NotFoundError as error:
                raise BadSampleError("missing", str(error)) from None
            said = {"image_sha256": first["image_sha256"], "members": [row["member"] for row in rows]}
            return image, tuple(row["text"] for row in rows), said

        return Entry(key=first["key"], name=f"{first['shard']}: {first['key']}", load=load)
