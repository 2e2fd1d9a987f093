"""The source `folder`: pictures under folders, each a file of its own, with captions in `.txt` files beside them.

With `captions: metadata` the pictures are those that `metadata.jsonl` or `metadata.csv` names (`data/metadata.py`).

A shard is a run of up to 1,000 files whose names are frozen with it: pictures added later make new shards and change no
old one.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from captioners.core.errors import NotFoundError, UserError
from captioners.core.options import operation
from captioners.data.entries import ListedSource, keys_of
from captioners.data.inputs import File, changed, find_files, find_inputs, gone, input_root, local_root, state
from captioners.data.metadata import METADATA, metadata_entries
from captioners.data.source import Sample, Shard, Source, SourceOptions, Unreadable, sources
from captioners.data.texts import BadSampleError, printable
from captioners.images.decode import SUFFIXES

FILES = 1000
"""Pictures of a shard."""


@sources.register("folder")
class FolderOptions(SourceOptions):
    """Pictures in folders."""

    kind: Literal["folder"] = "folder"
    inputs: list[str] = operation()
    """Folders, picture files or quoted patterns."""
    captions: Literal["beside", "metadata", "none"] = operation("beside")
    """beside: photo.txt, where there is one, is the caption of photo.jpg; metadata: what metadata.jsonl|csv says."""
    caption_column: str = operation("text")
    """With `captions: metadata`: which of its columns holds the caption; pictures are in `file_name`."""
    root: str | None = operation(None)
    """The folder that keys are relative to; default: the folder that all inputs share."""

    def open(self) -> Source:
        """Return the source."""
        if self.captions != "metadata":
            return FolderSource(self)
        files = self.metadata()
        root = local_root(self.inputs, self.root)
        return ListedSource(
            printable(root.name) or "pictures", lambda: metadata_entries(files, root, self.caption_column)
        )

    def metadata(self) -> dict[str, Path]:
        """Return the metadata files by their names below the root; NotFoundError where there is none."""
        files = find_files(self.inputs, METADATA, "metadata files", self.root)
        found = {name: path for name, path in files.items() if path.name in METADATA}
        if not found:
            raise NotFoundError(f"{', '.join(self.inputs)}: holds no {' or '.join(METADATA)}; or say captions: beside")
        return found


class FolderSource:
    """Reads pictures in folders; see `captioners.data.source.Source`."""

    def __init__(self, options: FolderOptions) -> None:
        self._options = options
        self._root: File = input_root(options.inputs, options.root) if options.inputs else Path()

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return all shards: those frozen first and unchanged, then the pictures that no frozen shard has."""
        files = find_inputs(self._options.inputs, SUFFIXES, "pictures", self._options.root)
        now = {name: _state(name, file) for name, file in files.items()}
        for shard in frozen:
            for old in shard.where["files"]:
                if old[0] not in now:
                    raise gone(old[0])
                if now[old[0]] != old:
                    new = now[old[0]]
                    raise changed(old[0], f"{old[1]:,} bytes then, {new[1]:,} now" if old[1] != new[1] else "")
        before = {old[0] for shard in frozen for old in shard.where["files"]}
        # By name, not by input: what a folder gives must not depend on how its parts were listed.
        added = [now[name] for name in sorted(now, key=PurePosixPath) if name not in before]
        first = max((int(shard.path.rpartition("#")[2]) for shard in frozen), default=-1) + 1
        runs = [added[at : at + FILES] for at in range(0, len(added), FILES)]
        return [*frozen, *(self._shard(first + number, run) for number, run in enumerate(runs))]

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its picture number `start`."""
        names = [state[0] for state in shard.where["files"]]
        for index, (name, key) in enumerate(zip(names, keys_of(names), strict=True)):
            if index < start:
                continue
            file = self._root / name
            shown = printable(str(file))
            try:
                yield Sample(
                    shard=shard.path,
                    key=key,
                    index=index,
                    image=_image(file, shown),
                    captions=self._captions(file),
                    name=shown,
                )
            except BadSampleError as error:
                yield Unreadable(shard=shard.path, key=key, index=index, reason=error.reason, error=str(error))

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:  # noqa: ARG002
        """Return the bytes of one picture by its key; each is a file of its own."""
        names = [state[0] for state in shard.where["files"]]
        name = dict(zip(keys_of(names), names, strict=True)).get(key)
        if name is None:
            raise NotFoundError(f"{shard.path}: has no picture of the key {key!r}")
        try:
            return _image(self._root / name, name)
        except BadSampleError as error:
            raise NotFoundError(str(error)) from None

    def unstamped(self, shard: Shard) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield (key, captions) of a shard, whose stamp is its pictures' alone; see `data.source.unstamped`."""
        names = [state[0] for state in shard.where["files"]]
        for name, key in zip(names, keys_of(names), strict=True):
            try:
                yield key, self._captions(self._root / name)
            except BadSampleError:
                continue

    def _shard(self, number: int, files: list[list[Any]]) -> Shard:
        stamp = blake2b(repr(files).encode(), digest_size=16).hexdigest()
        size = sum(state[1] for state in files)
        path = f"{printable(self._root.name) or 'pictures'}#{number:05d}"
        return Shard(path=path, size=size, stamp=stamp, count=len(files), where={"files": files})

    def _captions(self, file: File) -> tuple[str, ...]:
        if self._options.captions == "none":
            return ()
        beside = file.with_suffix(".txt")
        try:
            text = beside.read_bytes().decode("utf-8-sig")
        except (FileNotFoundError, IsADirectoryError):
            return ()
        except UnicodeDecodeError as error:
            said = f"{printable(str(beside))}: not UTF-8 (byte {error.start}); convert it to UTF-8"
            raise BadSampleError("not_utf8", said) from None
        except OSError as error:
            raise _refused(beside, error) from error
        return (text,) if text.strip() else ()


def _state(name: str, file: File) -> list[Any]:
    """Return what says that a file is still the same: its name, bytes and time of change or stamp."""
    return [name, *state(file)]


def _image(file: File, shown: str) -> bytes:
    try:
        data = file.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise BadSampleError("missing", f"{shown}: is gone since the run began; bring it back") from None
    except OSError as error:
        raise _refused(file, error) from error
    if not data:
        raise BadSampleError("empty", f"{shown}: the file is empty (0 bytes); copy or download it again")
    return data


def _refused(file: File, error: OSError) -> UserError:
    return UserError(f"{file}: could not be read ({error.strerror}); check its permissions and its disk")
