"""Read Parquet files whose bytes are in memory.

Not through a Python file: threads of pyarrow's may still hold it when the interpreter ends, and then the process aborts
after its work is done (apache/arrow issues 34314, 33975, 50482). Bytes go over as a buffer, which no other thread reads.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow


def read_parquet(data: bytes) -> "pyarrow.Table":
    """Return a file's rows; raises pyarrow's ArrowException or OSError for a damaged one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(data), use_threads=False)
