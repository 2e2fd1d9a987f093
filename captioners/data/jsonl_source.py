"""The source `jsonl`: one JSON object a line, its image a path beside the file or base64 in the line.

A shard is a run of 1,000 lines, known by its bytes: lines appended later make new shards and change no old one. An
image's path may not lead out of its root, whatever the file says, and nothing is downloaded.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from captioners.core.errors import NotFoundError, UserError
from captioners.core.options import operation
from captioners.data.columns import check_columns
from captioners.data.image_values import image_bytes
from captioners.data.inputs import File, find_inputs, lost, open_file, place
from captioners.data.line_shards import line_shards, lines_of, next_line
from captioners.data.source import Sample, Shard, SourceOptions, Unreadable, sources
from captioners.data.texts import BadSampleError, texts


@sources.register("jsonl")
class JsonlOptions(SourceOptions):
    """JSON lines."""

    kind: Literal["jsonl"] = "jsonl"
    inputs: list[str] = operation()
    """JSONL files, folders of them or quoted patterns."""
    image_column: str = "image"
    """Holds a path relative to `image_root`, or base64."""
    caption_column: str | None = operation(None)
    """Holds a caption or a list of them; default: none are read."""
    key_column: str | None = None
    """Holds the sample's key; default: the number of its line."""
    image_root: str | None = operation(None)
    """The folder that image paths are relative to and stay in; default: the JSONL file's own."""
    root: str | None = operation(None)
    """The folder that shard names are relative to; default: the folder that all inputs share."""

    def open(self) -> "JsonlSource":
        """Return the source."""
        return JsonlSource(self)


class JsonlSource:
    """Reads JSON lines; see `captioners.data.source.Source`."""

    def __init__(self, options: JsonlOptions) -> None:
        self._options = options
        self._files: dict[str, File] = {}

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return all shards: those frozen first and unchanged, then the lines that no frozen shard has."""
        files = self._find()
        for path in files.values():
            self._check_columns(path)
        return line_shards(files, frozen)

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its sample number `start`; blank lines are no samples."""
        path = self._file(shard)
        seen: set[str] = set()
        for index, (number, line) in enumerate(lines_of(path, shard)):
            if index >= start or self._options.key_column:
                row = self._row(line, number, path, shard, index, seen)
                if index >= start:
                    yield row

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:  # noqa: ARG002
        """Return the bytes of one image by its key; lines have no offsets."""
        for sample in self.samples(shard):
            if isinstance(sample, Sample) and sample.key == key:
                return sample.image
        raise NotFoundError(f"{shard.path}: has no image of the key {key!r} any more")

    def _find(self) -> dict[str, File]:
        self._files = find_inputs(self._options.inputs, (".jsonl",), "JSONL files", self._options.root)
        return self._files

    def _file(self, shard: Shard) -> File:
        file = (self._files or self._find()).get(shard.where["file"])
        if file is None or not file.is_file():
            raise lost(shard.where["file"])
        return file

    def _check_columns(self, path: File) -> None:
        """Raise UserError if the first readable line lacks a column that was asked for."""
        columns = list(first_object(path))
        asked = {
            "image_column": self._options.image_column,
            "caption_column": self._options.caption_column,
            "key_column": self._options.key_column,
        }
        if columns:
            check_columns(str(path), columns, asked)

    def _row(
        self, line: bytes, number: int, path: File, shard: Shard, index: int, seen: set[str]
    ) -> Sample | Unreadable:
        key = f"{number:08d}"
        try:
            fields = json_object(line)
            if self._options.key_column:
                key = _key(fields, self._options.key_column)
                if key in seen:
                    raise BadSampleError("duplicate_key", f"the key {key!r} was there before")
                seen.add(key)
            captions = texts(fields.get(self._options.caption_column)) if self._options.caption_column else ()
            if captions is None:
                said = f"{self._options.caption_column!r} is neither a text nor a list of texts"
                raise BadSampleError("bad_caption", said)
            image = self._image(fields, path)
        except BadSampleError as error:
            said = f"{path.name} line {number}: {error}"
            return Unreadable(shard=shard.path, key=key, index=index, reason=error.reason, error=said)
        own = (self._options.image_column, self._options.caption_column, self._options.key_column)
        return Sample(
            shard=shard.path,
            key=key,
            index=index,
            image=image,
            captions=captions,
            meta={name: value for name, value in fields.items() if name not in own},
            name=f"{path.name} line {number}",
        )

    def _image(self, fields: dict[str, Any], path: File) -> bytes:
        column = self._options.image_column
        if column not in fields:
            there = ", ".join(fields) or "none"
            raise BadSampleError("no_image", f"the column {column!r} is missing; there are {there}")
        root = place(self._options.image_root) if self._options.image_root else path.parent
        return image_bytes(fields[column], column, root)


def first_object(path: File) -> dict[str, Any]:
    """Return the first object among a file's first 100 lines; empty if there is none.

    Raises UserError for a file that is compressed, or one JSON list, which no line of can be read alone.
    """
    with open_file(path) as file:
        start = file.read(4)
        if start.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            raise UserError(f"{path}: compressed, where lines have no place to be read at; unpack it to .jsonl")
        file.seek(0)
        for _ in range(100):
            line = next_line(file)
            if line.strip() in (b"[", b"[{") or line.lstrip().startswith(b"[{"):
                raise UserError(f"{path}: one JSON list, not an object a line; write it as JSON lines")
            try:
                return json_object(line)
            except BadSampleError:
                continue
    return {}


def json_object(line: bytes) -> dict[str, Any]:
    """Return the object that a line holds; raise BadSampleError (not_utf8, bad_line) for any other line."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadSampleError("not_utf8", f"not UTF-8 (byte {error.start}); convert the file to UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise BadSampleError("bad_line", f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise BadSampleError("bad_line", f"holds a {type(value).__name__}, not an object of columns")
    return value


def _key(fields: dict[str, Any], column: str) -> str:
    value = fields.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).isprintable() or value == "":
        raise BadSampleError("bad_line", f"the column {column!r} holds no key: {value!r:.40}")
    return str(value)
