"""Parquet files as shards: one for each row group, the unit that Parquet is read by."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from captioners.core.errors import UserError
from captioners.data.inputs import keep_frozen, open_file, stat
from captioners.data.source import Shard
from captioners.data.texts import BadSampleError

_ROWS = 16
"""Rows decoded at once: pictures are large."""


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a file; UserError when it is none of Parquet or cannot be read."""
    with open_file(path):  # for its errors
        pass
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"{path}: not a readable Parquet file ({said}); copy or download it again") from error


def columns_of(path: Path) -> pa.Schema:
    """Return the columns of a file and their types."""
    with open_parquet(path) as file:
        return file.schema_arrow


def row_group_shards(files: Mapping[str, Path], frozen: Sequence[Shard] = ()) -> list[Shard]:
    """Return all shards: those frozen first and unchanged, then the row groups of other files."""
    found = []
    for name, path in files.items():
        stamp = str(stat(path).st_mtime_ns)
        with open_parquet(path) as file:
            first = 0
            for group in range(file.metadata.num_row_groups):
                about = file.metadata.row_group(group)
                where = {"file": name, "group": group, "first": first}
                size, count = about.total_byte_size, about.num_rows
                found.append(Shard(path=f"{name}#{group:05d}", size=size, stamp=stamp, count=count, where=where))
                first += about.num_rows
    return keep_frozen(frozen, found)


def rows_of(path: Path, shard: Shard, columns: Sequence[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield a shard's rows with their numbers in the file, from 0.

    Raises BadSampleError (unreadable) for data that cannot be decoded, UserError where the disk refuses.
    """
    number = shard.where["first"]
    with open_parquet(path) as file:
        try:
            for batch in file.iter_batches(_ROWS, row_groups=[shard.where["group"]], columns=columns):
                for row in batch.to_pylist():
                    yield number, row
                    number += 1
        except (pa.ArrowException, OSError) as error:
            said = str(error).splitlines()[0]
            if getattr(error, "errno", None):
                raise UserError(f"{path}: could not be read ({said}); check its disk") from error
            broken = f"{path.name}: from row {number:,} on it cannot be decoded ({said}); copy or download it again"
            raise BadSampleError("unreadable", broken) from None
