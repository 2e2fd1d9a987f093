"""The source `recap_coco`: ReCap-COCO-30K, MSCOCO images described anew by LLaVA, pictures and all in Parquet."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from captioners.core.errors import UserError
from captioners.core.options import operation
from captioners.data.entries import Entry, Loaded, image_of, samples_of
from captioners.data.image_values import image_bytes
from captioners.data.inputs import find_files, gone
from captioners.data.parquet import columns_of, row_group_shards, rows_of
from captioners.data.source import Sample, Shard, SourceOptions, Unreadable, sources
from captioners.data.texts import BadSampleError, texts

_COLUMNS = {"recaption": ("recaption",), "caption": ("caption",), "both": ("recaption", "caption")}
_IMAGES = ("image", "image_binary")


@sources.register("recap_coco")
class RecapCocoOptions(SourceOptions):
    """ReCap-COCO-30K's Parquet file."""

    kind: Literal["recap_coco"] = "recap_coco"
    inputs: list[str] = operation()
    """new_data.parquet, or the folder that holds it."""
    text: Literal["recaption", "caption", "both"] = operation("recaption")
    """recaption: LLaVA's text; caption: MSCOCO's own; both: two captions of the image."""

    def own_card(self) -> str | None:
        """Return ReCap-COCO-30K's card."""
        return "recap_coco_30k"

    def open(self) -> "RecapCocoSource":
        """Return the source."""
        return RecapCocoSource(self)


class RecapCocoSource:
    """Reads the Parquet file; see `captioners.data.source.Source`."""

    def __init__(self, options: RecapCocoOptions) -> None:
        self._options = options
        self._files: dict[str, Path] = {}

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return all shards, one a row group: those frozen first and unchanged."""
        files = self._find()
        for path in files.values():
            there = columns_of(path).names
            lacking = [name for name in ("image_id", *_COLUMNS[self._options.text]) if name not in there]
            if lacking or not set(_IMAGES) & set(there):
                wanted = ", ".join([*lacking, *([] if set(_IMAGES) & set(there) else ["image"])])
                raise UserError(f"{path}: not ReCap-COCO-30K: it lacks {wanted}; it has {', '.join(there)}")
        return row_group_shards(files, frozen)

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its row number `start`."""
        return samples_of(shard, start, self._entries(shard))

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:  # noqa: ARG002
        """Return the bytes of one picture by its key."""
        return image_of(shard, key, self._entries(shard))

    def _find(self) -> dict[str, Path]:
        self._files = find_files(self._options.inputs, (".parquet",), "Parquet files")
        return self._files

    def _entries(self, shard: Shard) -> Iterator[Entry]:
        path = (self._files or self._find()).get(shard.where["file"])
        if path is None or not path.is_file():
            raise gone(shard.where["file"])
        for number, row in rows_of(path, shard):
            id_ = str(row.get("image_id"))
            # As MSCOCO names its files, so that leaks into evaluation sets are seen in keys, too.
            key = f"{int(id_):012d}" if id_.isdecimal() else f"row-{number:08d}"
            yield Entry(key, f"{path.name} row {number}", partial(self._load, row, path.parent))

    def _load(self, row: Mapping[str, Any], folder: Path) -> Loaded:
        captions: tuple[str, ...] = ()
        for column in _COLUMNS[self._options.text]:
            found = texts(row.get(column))
            if found is None:
                raise BadSampleError("bad_caption", f"{column!r} is neither a text nor a list of texts")
            captions += found
        column = next(name for name in _IMAGES if name in row)
        meta = {name: row[name] for name in ("image_id", "coco_url") if row.get(name) is not None}
        return image_bytes(row[column], column, folder), captions, meta
