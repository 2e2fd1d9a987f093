"""The source `table`: rows of a csv, tsv or Parquet file, with a column of images and one of captions.

Rows of one and the same image path are captions of one image, as in open_clip's csv files. Parquet files that hold the
pictures themselves are read a row group at a time, every row an image.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from captioners.core.errors import UserError
from captioners.core.options import operation
from captioners.data.columns import Columns, bad_entry, check_columns
from captioners.data.entries import Entry, ListedSource, image_of, samples_of
from captioners.data.inputs import find_files, gone
from captioners.data.parquet import columns_of, open_parquet, row_group_shards, rows_of
from captioners.data.source import Sample, Shard, Source, SourceOptions, Unreadable, sources

SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*SEPARATORS, ".parquet")
_LONGEST_FIELD = 1 << 28


@sources.register("table")
class TableOptions(SourceOptions):
    """Tables: csv, tsv or Parquet."""

    kind: Literal["table"] = "table"
    inputs: list[str] = operation()
    """Files of one kind, folders of them or quoted patterns."""
    image_column: str = "image"
    """Holds a path relative to `image_root`, base64, or in Parquet the picture's bytes."""
    caption_column: str | None = operation(None)
    """Holds a caption, in Parquet also a list of them; default: none are read."""
    key_column: str | None = None
    """Holds the sample's key; default: the image's path, or the row's number where the picture is in the table."""
    separator: str | None = operation(None, min_length=1, max_length=1)
    """What stands between columns; default: a comma in .csv, a tab in .tsv."""
    encoding: str = operation("utf-8")
    """Of csv and tsv: utf-8, latin-1, utf-16 ..."""
    image_root: str | None = operation(None)
    """The folder that image paths are relative to and stay in; default: the table's own."""
    root: str | None = operation(None)
    """The folder that shard names are relative to; default: the folder that all inputs share."""

    def open(self) -> Source:
        """Return the source: a list of images where the table holds paths, row groups where it holds pictures."""
        files = find_files(self.inputs, SUFFIXES, "tables", self.root)
        groups = [path for path in files.values() if path.suffix.lower() == ".parquet"]
        if groups and len(groups) < len(files):
            raise UserError(
                f"{', '.join(files)}: Parquet and text tables in one source; read them as two, of a mixture"
            )
        for path in files.values():
            asked = {name: getattr(self, name) for name in ("image_column", "caption_column", "key_column")}
            check_columns(str(path), table_columns(path, self.separator, self.encoding), asked)
        if groups and not pa.types.is_string(columns_of(groups[0]).field(self.image_column).type):
            return _RowGroups(self)
        name = next(iter(files)) if len(files) == 1 else "tables"
        return ListedSource(name, lambda: _listed(self, files))

    def columns_in(self, path: Path) -> Columns:
        """Return what makes entries of a file's rows."""
        root = Path(self.image_root).expanduser() if self.image_root else path.parent
        return Columns(self.image_column, self.caption_column, self.key_column, root)


def table_columns(path: Path, separator: str | None = None, encoding: str = "utf-8") -> list[str]:
    """Return the names of a table's columns; UserError where its first row cannot be read."""
    if path.suffix.lower() == ".parquet":
        return list(columns_of(path).names)
    with _text(path, encoding) as file:
        return next(_rows(file, path, separator, encoding), [])


def _listed(options: TableOptions, files: Mapping[str, Path]) -> list[Entry]:
    found: list[Entry] = []
    for path in files.values():
        columns = options.columns_in(path)
        if path.suffix.lower() == ".parquet":
            with open_parquet(path) as file:
                rows = [(f"{path.name} row {n}", row) for n, row in enumerate(file.read().to_pylist())]
            found += columns.grouped(rows)
            continue
        good, bad = [], []
        for name, row in table_rows(path, path.name, options.separator, options.encoding):
            if isinstance(row, str):
                bad.append(bad_entry(name, "bad_line", row))
            else:
                good.append((name, row))
        found += [*columns.grouped(good), *bad]
    return found


def table_rows(
    path: Path, name: str, separator: str | None = None, encoding: str = "utf-8"
) -> Iterator[tuple[str, dict[str, str] | str]]:
    """Yield (what messages call it, its columns) for each row of a csv or tsv; for a bad row, what is wrong with it."""
    with _text(path, encoding) as text:
        reader = _rows(text, path, separator, encoding)
        header = next(reader, [])
        for number, row in enumerate(reader, 1):
            if len(row) == len(header):
                yield f"{name} row {number}", dict(zip(header, row, strict=True))
            elif row:
                said = f"{len(row)} columns, where the first row names {len(header)}; is a separator unquoted?"
                yield f"{name} row {number}", said


def _text(path: Path, encoding: str) -> Any:
    try:
        # utf-8-sig reads utf-8 with and without the mark that spreadsheets put before it.
        named = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        return path.open(encoding=named, newline="")
    except LookupError:
        raise UserError(f"encoding: no encoding is named {encoding!r}; try utf-8, latin-1 or utf-16") from None
    except OSError as error:
        raise UserError(f"{path}: could not be read ({error.strerror}); check its permissions and its disk") from error


def _rows(file: Any, path: Path, separator: str | None, encoding: str) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(file, delimiter=separator or SEPARATORS.get(path.suffix.lower(), ","))
    try:
        yield from reader
    except UnicodeError as error:
        said = f"not {encoding} (after line {reader.line_num}: {error.reason if hasattr(error, 'reason') else error})"
        raise UserError(f"{path}: {said}; say its encoding, as in encoding: latin-1") from None
    except csv.Error as error:
        raise UserError(f"{path}: no table (line {reader.line_num}: {error}); say its separator and encoding") from None


class _RowGroups:
    """Reads Parquet files that hold pictures; see `captioners.data.source.Source`."""

    def __init__(self, options: TableOptions) -> None:
        self._options = options
        self._files = find_files(options.inputs, SUFFIXES, "tables", options.root)

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return all shards, one a row group: those frozen first and unchanged."""
        return row_group_shards(self._files, frozen)

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its row number `start`."""
        return samples_of(shard, start, self._entries(shard))

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:  # noqa: ARG002
        """Return the bytes of one picture by its key."""
        return image_of(shard, key, self._entries(shard))

    def _entries(self, shard: Shard) -> Iterator[Entry]:
        path = self._files.get(shard.where["file"])
        if path is None or not path.is_file():
            raise gone(shard.where["file"])
        columns = self._options.columns_in(path)
        for number, row in rows_of(path, shard):
            yield columns.entry(row, f"{path.name} row {number}", number)
