"""Forms of whole samples: each shard of the run read again in step with its captions, and written under its own name.

A shard appears when it is whole, so a killed export goes on behind it. What cannot be written is told, never guessed.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from captioners.core.errors import UserError
from captioners.data.run_captions import SelectedUnit
from captioners.data.tar import TarWriter
from captioners.jobs.export.captions import Composer, UnfitError, Whole
from captioners.jobs.export.format import Added, Task
from captioners.jobs.export.originals import Original, Originals, SampleShard, TarShard, tar_name
from captioners.reinforcement.set_files import set_files

if TYPE_CHECKING:
    import pyarrow

Row = Mapping[str, Any]


class Writer(Protocol):
    """A file of samples that appears whole."""

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Append a sample; raises UserError for a key that readers would split."""

    def finish(self) -> None:
        """Make the file appear."""

    def drop(self) -> None:
        """Let go of what is begun."""


class CaptionedShards:
    """What the forms share; each says what a sample becomes and how a file is written."""

    ending: ClassVar[str]

    def __init__(self, task: Task) -> None:
        self._folder, self._recipe = task.folder, task.recipe
        self._originals = Originals(task.run, task.recipe.input)
        self.composer = Composer(task.recipe, task.units.layers)
        self._finished = frozenset(task.units.finished_shards)
        self._task = task
        self._shard = ""
        self._reading: TarShard | SampleShard | None = None
        self._writing: Writer | None = None
        self._written = 0

    @abstractmethod
    def sample(self, original: Original, rows: Sequence[Row]) -> Whole:
        """Return what is written of a sample; raises UnfitError."""

    @abstractmethod
    def begin(self, path: Path) -> Writer:
        """Begin a file."""

    def add(self, unit: SelectedUnit, table: "pyarrow.Table") -> Added:
        """Write the samples of a unit; with its last one, a shard is finished."""
        samples = [list(rows) for _, rows in groupby(table.to_pylist(), key=lambda row: row["index"])]
        shard, lost, notes = unit.unit.shard, list[dict[str, Any]](), Counter[str]()
        if shard not in self._finished:
            said = "its shard is not captioned to the end, and shards are written whole"
            return Added(lost=[_left(rows[0], "shard_unfinished", said) for rows in samples])
        if shard != self._shard:
            self._shard, self._reading = shard, self._originals.open(shard)
        for rows in samples:
            try:
                notes.update(self._write(rows))
            except UnfitError as error:
                lost.append(_left(rows[0], error.reason, str(error)))
        last = any(entry.last for entry in unit.unit.entries.values())
        return Added(finished=self.close() if last else {}, lost=lost, notes=notes)

    def _write(self, rows: Sequence[Row]) -> Counter[str]:
        assert self._reading is not None
        try:
            original = self._reading.find(rows[0])
            if original is None:
                where = f"{rows[0]['shard']}: {rows[0]['key']}"
                raise UnfitError("picture_gone", f"{where} is not in its shard any more where it was captioned")
            whole = self.sample(original, rows)
            if self._writing is None:
                path = self._folder / self._name()
                path.parent.mkdir(parents=True, exist_ok=True)
                self._writing = self.begin(path)
            self._writing.add(whole.key, whole.members)
        except UserError as error:  # a key or a member that cannot be written, or read
            raise UnfitError("unfit", str(error)) from None
        self._written += 1
        return whole.notes

    def _name(self) -> str:
        return f"{tar_name(self._shard)}.{self.ending}"

    def close(self) -> dict[str, int]:
        """Finish the shard that is begun."""
        finished = {}
        if self._writing is not None:
            self._writing.finish()
            finished = {self._name(): self._written}
        self._writing, self._written, self._shard = None, 0, ""
        self.drop()
        return finished

    def drop(self) -> None:
        """Let go of the shard that is begun; it counts for nothing."""
        if self._writing is not None:
            self._writing.drop()
        if self._reading is not None:
            self._reading.close()
        self._writing = self._reading = None

    def describe(self, manifest: Mapping[str, Any]) -> None:
        """Write the files that readers look for beside the shards."""
        # The run's own time, so that exporting it again gives the same bytes.
        finished = max((entry.finished for entry in self._task.run.entries()), default="")
        date = datetime.fromisoformat(finished).strftime("%Y-%m-%dT%H:%M:%S") if finished else ""
        shards = {one["name"]: one["rows"] for one in manifest["files"]}
        for name, text in set_files(shards, Path(self._recipe.output).name, date).items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)  # finished shards may have left it for a store
            path.write_text(text, encoding="utf-8")


class TarFile:
    """A tar as a `Writer`."""

    def __init__(self, path: Path) -> None:
        self._tar = TarWriter(path).__enter__()

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Append a sample."""
        self._tar.add(key, members)

    def finish(self) -> None:
        """Make it appear."""
        self._tar.__exit__(None, None, None)

    def drop(self) -> None:
        """Let go of it."""
        self._tar.drop()


def _left(row: Row, reason: str, error: str) -> dict[str, Any]:
    return {**{name: row[name] for name in ("shard", "key", "index")}, "reason": reason, "error": error}
