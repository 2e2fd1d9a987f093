"""The source `webdataset`: tar shards whose members are grouped into samples by key, as the webdataset library does.

A key is a member's name up to the first dot of its last part; what follows is the extension. What the library would
split, skip or fail on without a word (a key with dots, a key twice, a missing image) becomes a row that says so.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from captioners.core.errors import NotFoundError, UserError
from captioners.core.options import added, operation
from captioners.core.remote_file import RemotePath
from captioners.data.grouping import Group, Stray, group_members
from captioners.data.inputs import File, find_inputs, input_root, keep_frozen, lost, open_file, state
from captioners.data.source import Sample, Shard, SourceOptions, Unreadable, sources
from captioners.data.tar import COMPRESSED_SUFFIXES, Fault, Member, TarReader
from captioners.data.texts import BadSampleError, field_of, texts
from captioners.data.uids import UidSet, halves_of


@sources.register("webdataset")
class WebdatasetOptions(SourceOptions):
    """Tar shards."""

    kind: Literal["webdataset"] = "webdataset"
    inputs: list[str] = operation()
    """Shards, folders of them, quoted patterns: `shards/{00000..00099}.tar`, `shards/*.tar`, `s3://bucket/shards`."""
    image_key: str | None = None
    """The image's extension; default: the first of jpg, jpeg, png, webp, ... that a sample has."""
    caption_key: str = operation("txt")
    """Where captions are: an extension (`txt`), or a field of a JSON member (`json:caption`, `json:captions.short`)."""
    keep: list[str] = operation([])
    """Further members that stay with a sample, by extension, under that name in its meta: `[syn.json]`."""
    uids: str | None = added(None)
    """A `.npy` of the uids to read, others being left out, as DFN-2B chooses of DataComp; by `uid` in the json."""
    root: str | None = operation(None)
    """The folder that shard names are relative to; default: the folder that all inputs share."""

    def open(self) -> "WebdatasetSource":
        """Return the source."""
        return WebdatasetSource(self)


class WebdatasetSource:
    """Reads tar shards; see `captioners.data.source.Source`."""

    def __init__(self, options: WebdatasetOptions) -> None:
        self._options = options
        self._files: dict[str, File] = {}
        self._root: File | None = None
        self._uids = UidSet(Path(options.uids).expanduser()) if options.uids else None

    def describe(self) -> tuple[str, ...]:
        """Return what is chosen by uid."""
        if self._uids is None:
            return ()
        return (f"only samples whose uid is one of the {len(self._uids):,} in {self._options.uids}",)

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return all shards: those frozen first and unchanged, then the others as the inputs name them."""
        files = self._find()
        sizes: dict[File, dict[str, int]] = {}
        found = []
        for name, file in files.items():
            if file.parent not in sizes:
                sizes[file.parent] = _sizes(file.parent)
            size, stamp = state(file)
            found.append(Shard(path=name, size=size, stamp=str(stamp), count=sizes[file.parent].get(file.name)))
        return keep_frozen(frozen, found)

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its sample number `start`; what comes before is found by headers, without its bytes."""
        index = 0
        seen: set[str] = set()
        with open_file(self._file(shard)) as file:
            reader = TarReader(file)
            for group in group_members(reader):
                if isinstance(group, Group) and not self._chosen(group, reader):
                    continue
                for row in self._rows(group, shard, index, reader if index >= start else None, seen):
                    if row.index >= start:
                        yield row
                    index = row.index + 1
        if index == 0 == start:
            error = f"{shard.path}: holds no samples; remove it, or write it again"
            yield Unreadable(shard=shard.path, key="", index=0, reason="empty", error=error, offset=0)

    def count(self, shard: Shard) -> int:
        """Return how many samples a shard has for a reader: as its folder's sizes.json says, else by its headers."""
        if shard.count is not None:
            return shard.count
        seen: set[str] = set()
        with open_file(self._file(shard)) as file:
            groups = group_members(TarReader(file))
            rows = (row for group in groups for row in self._rows(group, shard, 0, None, seen))
            return sum(isinstance(row, Unreadable) and not row.reason for row in rows)

    def open_shard(self, shard: Shard) -> BinaryIO:
        """Open a shard's file."""
        return open_file(self._file(shard))

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:
        """Return the bytes of one image by its place in the tar, or by its key where it has none."""
        if offset is not None:
            data = _range(self._file(shard), offset, size)
            if len(data) == size:
                return data
            raise NotFoundError(f"{shard.path}: ends before byte {offset + size:,}, where {key} should; was it cut?")
        for sample in self.samples(shard):
            if isinstance(sample, Sample) and sample.key == key:
                return sample.image
        raise NotFoundError(f"{shard.path}: has no image of the key {key!r} any more")

    def _chosen(self, group: Group, reader: TarReader) -> bool:
        """Whether a sample is to be read; one whose uid cannot be told is, and becomes a row that says so."""
        if self._uids is None:
            return True
        try:
            return _uid(group, reader) in self._uids
        except (BadSampleError, ValueError):
            return True

    def _find(self) -> dict[str, File]:
        options = self._options
        self._files = find_inputs(options.inputs, (".tar", *COMPRESSED_SUFFIXES), "tar shards", options.root)
        for name in self._files:
            if name.lower().endswith(COMPRESSED_SUFFIXES):
                raise UserError(
                    f"{name}: a compressed tar, where images have no place to be read at; unpack it to .tar"
                )
        return self._files

    def _file(self, shard: Shard) -> File:
        """Return a shard's file; in a store, the very one that was frozen, without a listing."""
        if self._root is None and self._options.inputs:
            self._root = input_root(self._options.inputs, self._options.root)
        if isinstance(self._root, RemotePath):
            file = self._root / shard.path
            return RemotePath(file.remote, file.path, shard.size, shard.stamp)
        found = (self._files or self._find()).get(shard.path)
        if found is None or not found.is_file():
            raise lost(shard.path)
        return found

    def _rows(
        self, group: Group | Fault | Stray, shard: Shard, index: int, reader: TarReader | None, seen: set[str]
    ) -> Iterator[Sample | Unreadable]:
        """Yield what a group comes to; without a reader, placeholders that only count."""

        def bad(reason: str, error: str, key: str, offset: int | None = None, at: int = index) -> Unreadable:
            said = f"{shard.path}: {error}"
            return Unreadable(shard=shard.path, key=key, index=at, reason=reason, error=said, offset=offset)

        if isinstance(group, Fault):
            yield bad(group.reason, group.error, "", group.offset)
            return
        if isinstance(group, Stray):
            yield bad("unsafe_name", f"{group.member.name}: {group.member.unsafe}", group.member.name)
            return
        unsafe = next((member for member in group.members.values() if member.unsafe), None)
        image, dotted = group.image(self._options.image_key), group.dotted()
        if unsafe is not None:
            yield bad("unsafe_name", f"{unsafe.name}: {unsafe.unsafe}; write the tar anew", group.key, unsafe.offset)
        elif group.key in seen:
            what = "this key was there before; webdataset would make two samples of it: write the tar anew"
            yield bad("duplicate_key", f"{group.key}: {what}", group.key, _start(group))
        elif image is None and dotted and self._options.image_key is None:
            for place, member in enumerate(dotted):
                what = f"a key with dots: readers take {group.key!r} for the key; rename it without, or set image_key"
                key = member.name.rpartition(".")[0]
                yield bad("dotted_key", f"{member.name}: {what}", key, member.offset, index + place)
        elif image is None:
            wanted, there = self._options.image_key or "jpg, png, ...", ", ".join(group.members)
            yield bad("no_image", f"{group.key}: has no image (.{wanted}), only .{there}", group.key, _start(group))
        elif reader is None:
            yield bad("", "", group.key)
        else:
            try:
                yield self._sample(group, group.members[image], shard, index, reader)
            except BadSampleError as error:
                yield bad(error.reason, str(error), group.key, group.members[image].offset)
        seen.add(group.key)

    def _sample(self, group: Group, image: Member, shard: Shard, index: int, reader: TarReader) -> Sample:
        data = _read(reader, image)
        if not data:
            raise BadSampleError("empty", f"{image.name}: the image is empty (0 bytes)")
        meta: dict[str, Any] = {}
        if "json" in group.members:
            meta = _object(reader, group.members["json"])
        if self._uids is not None:
            _check_uid(meta.get("uid"), group.key)
        if "url.txt" in group.members:
            meta.setdefault("url", _text(reader, group.members["url.txt"]).strip())
        for extension in self._options.keep:
            if member := group.members.get(extension):
                meta[extension] = (_object if extension.endswith("json") else _text)(reader, member)
        return Sample(
            shard=shard.path,
            key=group.key,
            index=index,
            image=data,
            captions=self._captions(group, reader),
            meta=meta,
            offset=image.offset,
            name=f"{shard.path}: {image.name}",
        )

    def _captions(self, group: Group, reader: TarReader) -> tuple[str, ...]:
        extension, colon, name = self._options.caption_key.partition(":")
        member = group.members.get(extension)
        if member is None:
            return ()
        if not colon:
            return texts(_text(reader, member)) or ()
        found = texts(field_of(_object(reader, member), name))
        if found is None:
            raise BadSampleError("bad_caption", f"{member.name}: {name!r} is neither a text nor a list of texts")
        return found


def first_members(path: File) -> tuple[list[str], list[str]]:
    """Return the extensions of a shard's first sample, and the fields of its json; empty where there is none."""
    with open_file(path) as file:
        reader = TarReader(file)
        group = next((group for group in group_members(reader) if isinstance(group, Group)), Group(""))
        try:
            fields = list(_object(reader, group.members["json"])) if "json" in group.members else []
        except BadSampleError:
            fields = []
    return list(group.members), fields


def _uid(group: Group, reader: TarReader) -> object:
    return _object(reader, group.members["json"]).get("uid") if "json" in group.members else None


def _check_uid(uid: object, key: str) -> None:
    try:
        halves_of(uid)
    except ValueError as error:
        said = f"{key}: its json has no uid ({error}), and uids: chooses by it"
        raise BadSampleError("no_uid", said) from None


def _start(group: Group) -> int | None:
    return next(iter(group.members.values())).offset


def _read(reader: TarReader, member: Member) -> bytes:
    try:
        return reader.read(member)
    except UserError as error:
        raise BadSampleError("too_large" if member.offset is not None else "unreadable", str(error)) from None


def _text(reader: TarReader, member: Member) -> str:
    try:
        return _read(reader, member).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        said = f"{member.name}: not UTF-8 (byte {error.start}); convert it to UTF-8"
        raise BadSampleError("not_utf8", said) from None


def _object(reader: TarReader, member: Member) -> dict[str, Any]:
    try:
        value = json.loads(_text(reader, member))
    except (ValueError, RecursionError) as error:
        raise BadSampleError("not_json", f"{member.name}: not JSON ({error}); write it again") from None
    if not isinstance(value, dict):
        raise BadSampleError("not_json", f"{member.name}: holds a {type(value).__name__}, not an object of fields")
    return value


def _range(file: File, offset: int, size: int) -> bytes:
    if isinstance(file, RemotePath):
        return file.read_range(offset, size)
    with open_file(file) as opened:
        opened.seek(offset)
        return opened.read(size)


def _sizes(folder: File) -> dict[str, int]:
    file = folder / "sizes.json"
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        sizes = json.loads(text)
    except (ValueError, RecursionError):
        sizes = None
    if not isinstance(sizes, dict) or not all(type(size) is int and size >= 0 for size in sizes.values()):
        raise UserError(f"{file}: is not an object of shard names and counts; mend or remove it")
    return sizes
