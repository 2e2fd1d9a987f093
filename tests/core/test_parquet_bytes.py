"""captioners/core/parquet_bytes.py: the rows of a file in memory, and that nothing reads one in the way that aborts."""

import re
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import captioners
from captioners.core.parquet_bytes import read_parquet

LEAVES_THREADS = re.compile(r"read_table\((?:io\.|pa\.)?(?:BytesIO|BufferReader)|ParquetFile\((?:io\.)?BytesIO")


def test_rows_and_metadata_are_read():
    table = pa.table({"x": [1, None, 3], "y": ["a", "b", "c"]}).replace_schema_metadata({"k": "v"})
    file = BytesIO()
    pq.write_table(table, file)
    found = read_parquet(file.getvalue())
    assert found.equals(table) and found.schema.metadata[b"k"] == b"v"
    with pytest.raises((pa.ArrowException, OSError)):
        read_parquet(file.getvalue()[:50])


def test_no_module_reads_bytes_in_threads_that_outlive_it():
    """A process that had done its work aborted at its end, once in some runs, with 'terminate called without ...'."""
    sources = {path: path.read_text(encoding="utf-8") for path in Path(captioners.__file__).parent.rglob("*.py")}
    assert [path.name for path, text in sources.items() if LEAVES_THREADS.search(text)] == []
    assert LEAVES_THREADS.search("pq.read_table(BytesIO(data))")
