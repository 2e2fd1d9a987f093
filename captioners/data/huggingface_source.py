"""The source `huggingface`: a set on disk that the `datasets` library loads; nothing is fetched.

What `save_to_disk` wrote is mapped, not copied. Any other folder that `load_dataset` reads goes through the library's
cache, a copy on disk; for a folder with metadata or Parquet files the sources `folder` and `table` need none.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from captioners.core.errors import NotFoundError, UserError
from captioners.core.options import operation
from captioners.data.columns import Columns, check_columns
from captioners.data.entries import ENTRIES, Entry, image_of, samples_of
from captioners.data.inputs import changed
from captioners.data.source import Sample, Shard, SourceOptions, Unreadable, sources


@sources.register("huggingface")
class HuggingfaceOptions(SourceOptions):
    """A set of the `datasets` library on disk."""

    kind: Literal["huggingface"] = "huggingface"
    inputs: list[str] = operation(min_length=1, max_length=1)
    """The folder."""
    split: str | None = None
    """Which split; needed where there are several."""
    image_column: str = "image"
    """Holds an `Image` feature, bytes, or a path relative to the folder."""
    caption_column: str | None = operation(None)
    """Holds a caption or a list of them; default: none are read."""
    key_column: str | None = None
    """Holds the sample's key; default: its number."""

    def open(self) -> "HuggingfaceSource":
        """Return the source."""
        return HuggingfaceSource(self)


class HuggingfaceSource:
    """Reads a set of `datasets`; see `captioners.data.source.Source`."""

    def __init__(self, options: HuggingfaceOptions) -> None:
        self._options = options
        self._root = Path(options.inputs[0]).expanduser()
        self._set: Any = None

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return all shards, runs of 1,000 rows: the set is as it was, or the frozen ones are refused."""
        held = self._open()
        stamp = str(held._fingerprint)
        found = [
            Shard(
                path=f"{self._root.name}#{number:05d}",
                size=0,  # rows have no bytes of their own before they are read
                stamp=stamp,
                count=min(ENTRIES, len(held) - first),
                where={"first": first},
            )
            for number, first in enumerate(range(0, len(held), ENTRIES))
        ]
        if not found:
            raise NotFoundError(f"{self._root}: the set holds no rows")
        if frozen and list(frozen) != found:
            raise changed(str(self._root), "other rows")
        return found

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its row number `start`."""
        return samples_of(shard, start, self._entries(shard))

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:  # noqa: ARG002
        """Return the bytes of one picture by its key."""
        return image_of(shard, key, self._entries(shard))

    def _entries(self, shard: Shard) -> Iterator[Entry]:
        held, options = self._open(), self._options
        columns = Columns(options.image_column, options.caption_column, options.key_column, self._root)
        first = shard.where["first"]
        for number in range(first, first + (shard.count or 0)):
            yield columns.entry(held[number], f"{self._root.name} row {number}", number)

    def _open(self) -> Any:
        if self._set is None:
            held = load(self._root, self._options.split)
            asked = {name: getattr(self._options, name) for name in ("image_column", "caption_column", "key_column")}
            check_columns(str(self._root), held.column_names, asked)
            self._set = held
        return self._set


def load(folder: Path, split: str | None = None) -> Any:
    """Return the `datasets.Dataset` of a folder, pictures undecoded.

    Raises:
        NotFoundError: no such folder. UserError: nothing that `datasets` reads, or several splits and none is named.
    """
    import datasets

    if not folder.is_dir():
        raise NotFoundError(f"{folder}: no such folder; name what save_to_disk wrote, or a folder of data files")
    datasets.disable_progress_bars()
    try:
        held = datasets.load_from_disk(str(folder)) if is_saved(folder) else datasets.load_dataset(str(folder))
    except Exception as error:  # the library raises what its readers do
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{folder}: datasets does not load it ({said})") from error
    if isinstance(held, dict):
        if split is None and len(held) > 1:
            raise UserError(f"{folder}: has the splits {', '.join(held)}; say which, as in split: {next(iter(held))}")
        name = split or next(iter(held))
        if name not in held:
            raise UserError(f"{folder}: has no split {name!r}; there are {', '.join(held)}")
        held = held[name]
    elif split is not None and str(held.split) != split:
        raise UserError(f"{folder}: is one set without the split {split!r} (it says {held.split}); leave split out")
    for column, feature in held.features.items():
        if isinstance(feature, datasets.Image):
            held = held.cast_column(column, datasets.Image(decode=False))
    return held


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` of datasets wrote a folder."""
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))
