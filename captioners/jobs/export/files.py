"""Many units in few files: a stream of tables cut into files of about one size, whose bytes depend on the rows alone.

A file ends with the unit that makes it large enough, so a killed export can go on behind any finished file.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pyarrow

_MB = 1_000_000
_GROUP_ROWS = 1 << 16
_GROUP_BYTES = 64 << 20
"""A row group of Parquet ends with the unit that exceeds either: this much is held in memory."""


class Files:
    """Files `STEM-00000.ENDING`, the next one beginning when one is large enough."""

    ending = ""

    def __init__(self, folder: Path, stem: str, file_mb: int, finished: int = 0) -> None:
        self._folder, self._stem, self._most = folder, stem, file_mb * _MB
        self._number = finished
        self._file: BinaryIO | None = None

    def add(self, table: "pyarrow.Table") -> dict[str, int]:
        """Write a table's rows behind the others; if this finished a file, return its name and its rows."""
        if not table.num_rows:
            return {}
        if self._file is None:
            path = self._folder / self._name()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
            self._begin(self._file, table.schema)
            self._rows = 0
        self._rows += table.num_rows
        return self.close() if self._write(self._file, table) >= self._most else {}

    def close(self) -> dict[str, int]:
        """Finish the file that is begun, safely on disk, and return its name and its rows."""
        if self._file is None:
            return {}
        self._end(self._file)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        name = self._name()
        self._number += 1
        return {name: self._rows}

    def drop(self) -> None:
        """Let go of the file that is begun; it counts for nothing."""
        if self._file is not None:
            with suppress(OSError):  # the disk may be full
                self._end(self._file)
            self._file.close()

    def _name(self) -> str:
        return f"{self._stem}-{self._number:05d}.{self.ending}"

    def _begin(self, file: BinaryIO, schema: "pyarrow.Schema") -> None:
        """Begin a file."""

    def _write(self, file: BinaryIO, table: "pyarrow.Table") -> int:
        """Write rows and return how many bytes the file has."""
        raise NotImplementedError

    def _end(self, file: BinaryIO) -> None:
        """Finish a file."""


class ParquetFiles(Files):
    """Parquet with zstd, in row groups of about 65,536 rows or 64 MB; no time, host or path in them."""

    ending = "parquet"

    def _begin(self, file: BinaryIO, schema: "pyarrow.Schema") -> None:
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._held: list[Any] = []

    def _write(self, file: BinaryIO, table: "pyarrow.Table") -> int:
        # A unit of pictures may be larger than a row group by itself.
        step = max(table.num_rows * _GROUP_BYTES // max(table.nbytes, 1), 1)
        for at in range(0, table.num_rows, step):
            self._held.append(table.slice(at, step))
            rows, size = (sum(getattr(one, of) for one in self._held) for of in ("num_rows", "nbytes"))
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                self._flush()
        return file.tell()

    def _end(self, file: BinaryIO) -> None:  # noqa: ARG002
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        held, self._held = pa.concat_tables(self._held) if self._held else None, []
        if held is not None and held.num_rows:
            self._writer.write_table(held, row_group_size=held.num_rows)


class JsonLines(Files):
    """One JSON object a line, UTF-8, keys in the order of the columns; bytes stand as base64."""

    ending = "jsonl"

    def _write(self, file: BinaryIO, table: "pyarrow.Table") -> int:
        for row in table.to_pylist():
            line = json.dumps(row, ensure_ascii=False, default=_text)
            file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        return file.tell()


def _text(value: object) -> str:
    from base64 import b64encode

    assert isinstance(value, bytes)
    return b64encode(value).decode()
