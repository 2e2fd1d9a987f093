"""Read Parquet files whose bytes are in memory.

`pyarrow.parquet.read_table` leaves threads behind that may still let go of what it was given when the interpreter ends,
and then the process aborts after its work is done (apache/arrow issues 34314, 33975, 50482). `ParquetFile` reads in the
calling thread alone.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow


def read_parquet(data: bytes) -> "pyarrow.Table":
    """Return a file's rows; raises pyarrow's ArrowException or OSError for a damaged one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
