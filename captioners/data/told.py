"""What came with the pictures of a run, without the pictures: their captions and facts, a Parquet file for each shard.

told/about.json       says that this copy of the run is read without its source
told/SHARD.parquet    shard, index, key, captions, meta (JSON), a row for each sample

So captions can be measured where no picture is.
"""

import json
from collections.abc import Iterator
from io import BytesIO

from captioners.core.errors import UserError
from captioners.core.ledger import slug
from captioners.core.parquet_bytes import read_parquet
from captioners.core.run_dir import RunDir
from captioners.core.storage import Place
from captioners.data.source import Sample

ABOUT = "told/about.json"


def told_rows(shard: str, samples: Iterator[Sample]) -> tuple[str, bytes]:
    """Return name and bytes of a shard's file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "shard": sample.shard,
            "index": sample.index,
            "key": sample.key,
            "captions": list(sample.captions),
            "meta": json.dumps(sample.meta, sort_keys=True, ensure_ascii=False),
        }
        for sample in samples
    ]
    columns = {"shard": pa.string(), "index": pa.int64(), "key": pa.string()}
    schema = pa.schema({**columns, "captions": pa.list_(pa.string()), "meta": pa.string()})
    file = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), file, compression="zstd")
    return _file(shard), file.getvalue()


def about() -> tuple[str, bytes]:
    """Return name and bytes of the file that says it."""
    return ABOUT, b'{"format": "captioners-told", "version": 1}\n'


class Told:
    """The files of a run, or nothing."""

    def __init__(self, run: RunDir) -> None:
        self._place: Place = run.place
        self.there = self._place.exists(ABOUT)
        """Whether the run is to be read so."""

    def samples(self, shard: str, start: int, stop: int | None) -> Iterator[Sample]:
        """Yield the samples of a shard from number `start` to before `stop`; their pictures are empty.

        Raises UserError for a damaged file.
        """
        import pyarrow as pa

        try:
            rows = read_parquet(self._place.read(_file(shard))).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{self._place.at(_file(shard))}: gone or damaged ({type(error).__name__})") from None
        for row in rows:
            if row["index"] >= start and (stop is None or row["index"] < stop):
                yield Sample(
                    shard=shard,
                    key=row["key"],
                    index=row["index"],
                    image=b"",
                    captions=tuple(row["captions"]),
                    meta=json.loads(row["meta"]),
                )


def _file(shard: str) -> str:
    return f"told/{slug(shard)}.parquet"
