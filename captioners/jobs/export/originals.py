"""The samples of a run's shards as they lie there, with all their members, in step with the captions made of them."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from captioners.core.errors import NotFoundError, UserError
from captioners.core.remote_file import RemotePath
from captioners.core.run_dir import RunDir
from captioners.data.grouping import Group, group_members
from captioners.data.inputs import File, input_root, open_file, place, state
from captioners.data.run_pictures import RunPictures
from captioners.data.source import Sample, Unreadable
from captioners.data.tar import Member, TarReader
from captioners.data.texts import BadSampleError
from captioners.data.webdataset_source import WebdatasetOptions
from captioners.images.formats import extension_of
from captioners.reinforcement.contract import META, TEXT, URL
from captioners.reinforcement.lines import members_of
from captioners.reinforcement.mend import to_json


@dataclass(frozen=True)
class Original:
    """A sample as the run read it."""

    key: str
    image: str
    """Which member is the picture."""
    members: Mapping[str, bytes]
    """Extension -> bytes."""


class Originals:
    """The shards of a run."""

    def __init__(self, run: RunDir, moved: str | None = None) -> None:
        """Take the run's source as its first start fixed it; `moved`: the folder that its shards lie in now.

        Raises UserError for a folder where none is needed.
        """
        self._run, self._moved = run, moved
        self._source: Mapping[str, Any] = run.settled().get("source") or {}
        self._tars = self._source.get("kind") == "webdataset"
        self._frozen = {str(found["path"]): found for found in run.inputs()}
        if moved is not None and not self._tars:
            raise UserError(f"input: the run read {self._source.get('kind')} and no tar shards; leave it out")

    def open(self, shard: str) -> "TarShard | SampleShard":
        """Open a shard. Raises UserError if it is gone or has changed: its size where it moved, else its time, too."""
        if not self._tars:
            return SampleShard(RunPictures(self._run).samples(shard))
        options = WebdatasetOptions.model_validate(self._source, strict=False)
        root = place(self._moved) if self._moved else input_root(options.inputs, options.root)
        frozen = self._frozen[shard]
        file: File = root / shard
        if isinstance(file, RemotePath) and self._moved is None:
            file = RemotePath(file.remote, file.path, frozen["size"], frozen["stamp"])
        elif not file.is_file():
            raise NotFoundError(f"{file}: is not there any more; say where the shards lie now: input=FOLDER")
        else:
            self._refuse_changed(file, frozen)
        return TarShard(file, options.image_key)

    def _refuse_changed(self, file: File, frozen: Mapping[str, Any]) -> None:
        size, stamp = state(file)
        if size != frozen["size"]:
            what, how = f"{frozen['size']:,} bytes then, {size:,} now", "bring the old file back"
        elif self._moved is None and str(stamp) != frozen["stamp"]:
            what = "another time of change"
            how = "bring the old file back with its time (cp -p), or, if it is the same, say input=FOLDER"
        else:
            return
        raise UserError(f"{file}: has changed since it was captioned ({what}); {how}")


class TarShard:
    """A tar, read once from its beginning to its end."""

    def __init__(self, file: File, image_key: str | None) -> None:
        self._stack = ExitStack()
        self._reader = TarReader(self._stack.enter_context(open_file(file)))
        self._groups = (one for one in group_members(self._reader) if isinstance(one, Group))
        self._next: Group | None = next(self._groups, None)
        self._image_key = image_key

    def find(self, row: Mapping[str, Any]) -> Original | None:
        """Return the sample that a caption's row was made of, or None; rows come in the order of the shard."""
        while self._next is not None:
            group, offsets = self._next, _offsets(self._next)
            image = next((name for name, one in group.members.items() if self._is(one, row)), None)
            if image is None and row["offset"] is not None and offsets and min(offsets) > row["offset"]:
                return None  # this one is asked for later
            self._next = next(self._groups, None)
            if image is not None:
                return Original(group.key, image, self._members(group))
        return None

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def _is(self, member: Member, row: Mapping[str, Any]) -> bool:
        return (member.offset, member.size) == (row["offset"], row["size"])

    def _members(self, group: Group) -> dict[str, bytes]:
        return {name: self._reader.read(one) for name, one in group.members.items() if not one.unsafe}


class SampleShard:
    """A shard of any other source: what it read becomes the members that `data pack` would write."""

    def __init__(self, samples: Iterator[Sample | Unreadable]) -> None:
        self._samples = samples

    def find(self, row: Mapping[str, Any]) -> Original | None:
        """Return the sample that a caption's row was made of, or None; rows come in the order of the shard."""
        for sample in self._samples:
            if sample.index == row["index"] and isinstance(sample, Sample):
                return _of_sample(sample)
            if sample.index >= row["index"]:
                break
        return None

    def close(self) -> None:
        """Let go of it."""


def tar_name(shard: str) -> str:
    """Return the path of a shard without its ending; one that is no tar gets a name that readers do not split.

    >>> tar_name("00/0001.tar"), tar_name("photos/a.jsonl#00003")
    ('00/0001', 'photos/a_jsonl_00003')
    """
    path = PurePosixPath(shard)
    if path.suffix == ".tar":
        return path.with_suffix("").as_posix()
    return "".join(letter if letter.isalnum() or letter in "/_-" else "_" for letter in shard)


def _offsets(group: Group) -> list[int]:
    return [one.offset for one in group.members.values() if one.offset is not None]


def _of_sample(sample: Sample) -> Original:
    """Return what `data pack` would write of a sample. Raises UserError for embeddings that only a pickle holds."""
    try:
        members, meta = members_of(sample.meta)
    except BadSampleError as error:
        raise UserError(f"{sample.name}: {error}") from None
    if URL not in members and isinstance(meta.get("url"), str):
        members[URL] = meta.pop("url").encode()
    image = extension_of(sample.image) or "jpg"
    members[image] = sample.image
    if sample.captions:
        members[TEXT] = sample.captions[0].encode()
    if len(sample.captions) > 1:
        meta.setdefault("captions", list(sample.captions))
    if meta:
        members[META] = to_json(meta)
    key = "".join(letter if letter.isprintable() and letter not in " \\" else "_" for letter in sample.key)
    return Original(key, image, members)
