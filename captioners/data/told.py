"""What came with the pictures of a run, without the pictures: their captions and facts, in one Parquet file of the run.

A run that has the file `told.parquet` is read without its source: its captions can be measured where no picture is.
"""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from captioners.core.run_dir import RunDir
from captioners.data.source import Sample

if TYPE_CHECKING:
    import pyarrow

FILE = "told.parquet"


def told_of(run: RunDir) -> bytes:
    """Return the file for a run: a row for each of its samples that its source can still hand out.

    Raises:
        NotFoundError, UserError: the source is gone, or is not what it was.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from captioners.data.run_pictures import RunPictures

    pictures = RunPictures(run)
    rows = [
        {
            "shard": sample.shard,
            "index": sample.index,
            "key": sample.key,
            "captions": list(sample.captions),
            "meta": json.dumps(sample.meta, sort_keys=True, ensure_ascii=False),
        }
        for shard in run.inputs()
        for sample in pictures.samples(str(shard["path"]))
        if isinstance(sample, Sample)
    ]
    columns = {"shard": pa.string(), "index": pa.int64(), "key": pa.string()}
    schema = pa.schema({**columns, "captions": pa.list_(pa.string()), "meta": pa.string()})
    file = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), file, compression="zstd")
    return file.getvalue()


class Told:
    """The file of a run, read."""

    def __init__(self, run: RunDir) -> None:
        import pyarrow.parquet as pq

        self._table: pyarrow.Table = pq.read_table(BytesIO(run.place.read(FILE)))

    def samples(self, shard: str, start: int, stop: int | None) -> Iterator[Sample]:
        """Yield the samples of a shard from number `start` to before `stop`; their pictures are empty."""
        import pyarrow.compute as pc

        for row in self._table.filter(pc.field("shard") == shard).to_pylist():
            if row["index"] >= start and (stop is None or row["index"] < stop):
                yield Sample(
                    shard=shard,
                    key=row["key"],
                    index=row["index"],
                    image=b"",
                    captions=tuple(row["captions"]),
                    meta=json.loads(row["meta"]),
                )
