"""From rows of captions to rows of images: each with the list of its captions, and its picture where that is wanted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from captioners.core.errors import NotFoundError
from captioners.data.run_pictures import RunPictures
from captioners.images.formats import extension_of

if TYPE_CHECKING:
    import pyarrow

_LISTS = {"text": "captions", "member": "members", "draw": "draws", "num_tokens": "num_tokens", "logprob": "logprobs"}
"""Column of a caption -> the column that lists it for an image."""


def image_schema(captions: "pyarrow.Schema", scores: Sequence[str], images: bool) -> "pyarrow.Schema":
    """Return the columns of rows of images; the lists of one row are of one length and order."""
    import pyarrow as pa

    picture = [pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]))]
    return pa.schema(
        [
            *(captions.field(name) for name in ("shard", "key", "index", "image_sha256")),
            *(picture if images else []),
            *(pa.field(name, pa.list_(captions.field(of).type), nullable=False) for of, name in _LISTS.items()),
            *(pa.field(name, pa.list_(pa.float64()), nullable=False) for name in scores),
        ]
    )


def by_image(
    rows: "pyarrow.Table", schema: "pyarrow.Schema", scores: Sequence[str], pictures: RunPictures | None
) -> "tuple[pyarrow.Table, list[dict[str, Any]]]":
    """Return a table of images, and a record for each image whose picture could not be fetched, which it leaves out.

    `rows` come sorted by sample; `pictures` fetches each by the bytes' place in its shard, and checks their digest.
    """
    import numpy as np
    import pyarrow as pa

    index = rows["index"].to_numpy()
    starts = np.flatnonzero(np.diff(index, prepend=index[0] - 1 if len(index) else 0))
    columns: dict[str, Any] = {
        name: rows[name].take(pa.array(starts)) for name in ("shard", "key", "index", "image_sha256")
    }
    offsets = pa.array([*starts.tolist(), len(index)], pa.int32())
    for of, name in [*_LISTS.items(), *((score, score) for score in scores)]:
        columns[name] = pa.ListArray.from_arrays(offsets, rows[of].combine_chunks())
    lost: list[dict[str, Any]] = []
    if pictures is not None:
        found = [_picture(pictures, row, lost) for row in rows.take(pa.array(starts)).to_pylist()]
        # In chunks: one array of binaries holds 2 GiB at most.
        kind = schema.field("image").type
        columns["image"] = pa.chunked_array([pa.array([one], kind) for one in found], kind)
    table = pa.table({name: columns[name] for name in schema.names}, schema=schema)
    gone = {one["index"] for one in lost}
    return (table.filter([at not in gone for at in index[starts].tolist()]) if gone else table), lost


def _picture(pictures: RunPictures, row: dict[str, Any], lost: list[dict[str, Any]]) -> dict[str, Any] | None:
    try:
        data = pictures.image(row)
    except NotFoundError as error:
        kept = {name: row[name] for name in ("shard", "key", "index")}
        lost.append({**kept, "reason": "picture_gone", "error": str(error)})
        return None
    return {"bytes": data, "path": f"{row['key']}.{extension_of(data) or 'bin'}"}
