"""Whole samples as JSON lines, a file for each shard: what `jsonl` writes with `rows: sample`."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from captioners.data.texts import BadSampleError
from captioners.jobs.export.captioned import CaptionedShards, Row
from captioners.jobs.export.captions import UnfitError, Whole
from captioners.jobs.export.originals import Original
from captioners.reinforcement.contract import NPZ, PTH
from captioners.reinforcement.lines import to_line


class SampleLines(CaptionedShards):
    """OUT/00/0.jsonl for the shard 00/0.tar."""

    ending = "jsonl"

    def sample(self, original: Original, rows: Sequence[Row]) -> Whole:
        """Return the whole sample."""
        whole = self.composer.whole(original, rows)
        whole.notes["samples have embeddings, which lines do not hold"] += bool({NPZ, PTH} & whole.members.keys())
        return whole

    def begin(self, path: Path) -> "LineFile":
        """Begin a file."""
        return LineFile(path)


class LineFile:
    """A file of lines as a `Writer`."""

    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_name(f".{path.name}.part")
        self._file = self._part.open("wb")

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Append a sample."""
        try:
            self._file.write(to_line(key, members))
        except BadSampleError as error:
            raise UnfitError(error.reason, str(error)) from None

    def finish(self) -> None:
        """Make it appear."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._path)

    def drop(self) -> None:
        """Let go of it."""
        with suppress(OSError):  # the disk may be full
            self._file.close()
        self._part.unlink(missing_ok=True)
