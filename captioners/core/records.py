"""The rows of a layer: their schema, their upgrades, and their bytes as Parquet or JSONL.

Bytes depend on the rows and the facts alone: fixed row groups, no time, host or path. The content digest does not even
depend on the file format or on pyarrow.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from captioners.core.errors import UserError
from captioners.core.parquet_bytes import read_parquet

if TYPE_CHECKING:
    import pyarrow

SCHEMA_VERSION = 1
"""Raised with each change of the columns; an older file is brought up to date as it is read (`UPGRADES`)."""

Format = Literal["parquet", "jsonl"]
_ROW_GROUP = 8192


class Row(TypedDict):
    """One caption and where it comes from."""

    shard: str
    """Path of the shard, relative to the input root."""
    key: str
    index: int
    """Place of the sample in its shard."""
    image_sha256: str
    offset: int | None
    """Where the image's bytes begin in the shard's file, if they lie in one."""
    size: int
    """Bytes of the image."""
    member: str
    draw: int
    attempt: int
    """How often this draw was made anew because a rule refused it; part of its random stream."""
    keep: bool
    """False: a rule refused the caption, finally; the row stays, so that sums balance."""
    text: str
    raw_text: str | None
    """The text as decoded, when the clean text differs from it."""
    num_tokens: int
    logprob: float | None
    """Sum of the model's log-probabilities (natural logarithm), end token included."""
    finish: str
    """eos, length or repetition."""
    flags: list[str]
    """What the rules noticed: truncated, repetitive, empty, too_short, not_text ..."""


def arrow_schema() -> "pyarrow.Schema":
    """Return the columns of a layer file."""
    import pyarrow as pa

    text, count = pa.string(), pa.int32()
    return pa.schema(
        [
            pa.field("shard", text, nullable=False),
            pa.field("key", text, nullable=False),
            pa.field("index", count, nullable=False),
            pa.field("image_sha256", text, nullable=False),
            pa.field("offset", pa.int64()),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("member", text, nullable=False),
            pa.field("draw", count, nullable=False),
            pa.field("attempt", count, nullable=False),
            pa.field("keep", pa.bool_(), nullable=False),
            pa.field("text", text, nullable=False),
            pa.field("raw_text", text),
            pa.field("num_tokens", count, nullable=False),
            pa.field("logprob", pa.float64()),
            pa.field("finish", text, nullable=False),
            pa.field("flags", pa.list_(text), nullable=False),
        ]
    )


UPGRADES: dict[int, Callable[["pyarrow.Table"], "pyarrow.Table"]] = {}
"""Schema version -> what makes of its table one of the next version."""


def content_digest(rows: Sequence[Row]) -> str:
    """Return the sha256 (hexadecimal) of the rows in their order: the same captions, the same digest."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(_line(row))
    return digest.hexdigest()


def _line(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n").encode()


def to_bytes(rows: Sequence[Row], facts: Mapping[str, str], form: Format = "parquet") -> bytes:
    """Return a layer file: the rows, and `facts` about them (fingerprint, captioner, ...) in the Parquet metadata.

    JSONL has no place for facts; they stand in the layer's own `layer.json` as well.
    """
    if form == "jsonl":
        return b"".join(_line(row) for row in rows)
    import pyarrow as pa
    import pyarrow.parquet as pq

    meta = {"schema_version": str(SCHEMA_VERSION), **facts}
    schema = arrow_schema().with_metadata({f"captioners.{key}": value for key, value in sorted(meta.items())})
    file = BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), file, compression="zstd", row_group_size=_ROW_GROUP)
    return file.getvalue()


def from_bytes(data: bytes, name: str) -> "pyarrow.Table":
    """Return a layer file's rows as a table of today's schema, with its facts as metadata; `name` is for messages.

    Raises:
        UserError: the file is damaged, or written by a newer version of the package.
    """
    import pyarrow as pa

    try:
        if not data.startswith(b"PAR1"):
            rows = [json.loads(line) for line in data.splitlines()]
            return pa.Table.from_pylist(rows, schema=arrow_schema())
        table = read_parquet(data)
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        said = " ".join(str(error).split())[:120]
        raise UserError(f"{name}: a damaged layer file ({said}); `captioners verify` says what to do") from None
    return upgraded(table, name)


def upgraded(table: "pyarrow.Table", name: str) -> "pyarrow.Table":
    """Bring a table of any older schema version to today's; raise UserError for a newer one."""
    version = int((table.schema.metadata or {}).get(b"captioners.schema_version", b"1"))
    if version > SCHEMA_VERSION:
        raise UserError(f"{name}: written by a newer captioners (schema {version}, known {SCHEMA_VERSION}); update it")
    while version < SCHEMA_VERSION:
        table = UPGRADES[version](table)
        version += 1
    return table
