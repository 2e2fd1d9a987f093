"""The pictures that a run's rows speak of, fetched again by what the rows say, one by one, without their shards.

A run may lie somewhere without them: then what came with them is read where it was written down (`data/told.py`).
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from captioners.core.errors import NotFoundError, UserError
from captioners.core.run_dir import RunDir
from captioners.data.source import Sample, Shard, Source, Unreadable, sources, unstamped
from captioners.data.told import Told


class RunPictures:
    """The source of a run, as its first start fixed it, and the shards frozen since."""

    def __init__(self, run: RunDir) -> None:
        self._options: Mapping[str, Any] = run.settled().get("source") or {}
        self._shards = {str(found["path"]): found for found in run.inputs()}
        self._source: Source | None = None
        self._told = Told(run)

    def image(self, row: Mapping[str, Any]) -> bytes:
        """Return the bytes that a layer's row was made from.

        Raises:
            NotFoundError: they are not where they were, or another picture is there now.
            UserError: the run names no source, or one that this installation does not know.
        """
        found = self._shards.get(row["shard"])
        if found is None:
            raise NotFoundError(f"{row['shard']}: not among the run's frozen inputs")
        if self._told.there:
            raise NotFoundError(f"{row['shard']}: {row['key']}: this copy of the run came without its pictures")
        data = self._opened().image(Shard(**found), row["key"], row["offset"], row["size"])
        if sha256(data).hexdigest() != row["image_sha256"]:
            raise NotFoundError(f"{row['shard']}: {row['key']} is another picture now than the one that was captioned")
        return data

    def samples(self, shard: str, start: int = 0, stop: int | None = None) -> Iterator[Sample | Unreadable]:
        """Read one of the run's shards again, from sample number `start` to before `stop`; raises as `image` does."""
        found = self._shards.get(shard)
        if found is None:
            raise NotFoundError(f"{shard}: not among the run's frozen inputs")
        if self._told.there:
            yield from self._told.samples(shard, start, stop)
            return
        for sample in self._opened().samples(Shard(**found), start):
            if stop is not None and sample.index >= stop:
                return
            yield sample

    def unstamped(self, shard: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield (key, captions) of a shard, where its stamp does not cover captions; raises as `image` does."""
        found = Shard(**self._shards[shard])
        if not self._told.there:
            yield from unstamped(self._opened(), found)
        elif self._beside(found):
            yield from ((sample.key, sample.captions) for sample in self._told.samples(shard, 0, None))

    def _beside(self, shard: Shard) -> bool:
        """Whether a shard's captions stood in files of their own, which its stamp does not cover: a folder's, DCI's."""
        options: Mapping[str, Any] = self._options
        if "mixture" in shard.where:
            options = options["parts"][shard.where["mixture"]["part"]]["source"]
        return "files" in shard.where.get("where", shard.where) or options.get("kind") == "dci"

    def _opened(self) -> Source:
        if self._source is None:
            if "kind" not in self._options:
                raise UserError("this run does not say where its pictures are (run.json has no source)")
            self._source = sources.get(self._options["kind"]).model_validate(self._options, strict=False).open()
        return self._source
