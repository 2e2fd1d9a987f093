"""The source `jsonl`: one JSON object a line, its image a path beside the file or base64 in the line.

A shard is a run of 1,000 lines, known by its bytes: lines appended later make new shards and change no old one. An
image's path may not lead out of its root, whatever the file says, and nothing is downloaded.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Literal

from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.options import operation
from captioners.data.inputs import changed, find_files, gone, open_file
from captioners.data.source import Sample, Shard, SourceOptions, Unreadable, sources
from captioners.data.texts import BadSampleError, texts

LINES = 1000
"""Lines of a shard."""
LONGEST_LINE = 1 << 28
"""Bytes of the longest line that is read."""

_BASE64 = re.compile(r"(/9j/|iVBORw0KGgo|UklGR|R0lGOD|Qk|SUkq|TU0AK|AAAA)[A-Za-z0-9+/\s]{56,}=*\s*")
"""Base64 of a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC: by its beginning, and without the dot of a file's name."""
_LONGEST_PATH = 4096


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
        self._files: dict[str, Path] = {}

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return all shards: those frozen first and unchanged, then the lines that no frozen shard has."""
        files = self._find()
        ends: dict[str, tuple[int, int, int]] = {}
        for shard in frozen:
            name = shard.where["file"]
            if name not in files:
                raise gone(name)
            with open_file(files[name]) as file:
                file.seek(shard.where["start"])
                if _digest(file.read(shard.size)) != shard.stamp:
                    last = shard.where["first_line"] + shard.where["lines"] - 1
                    raise changed(f"{name}, lines {shard.where['first_line']:,} to {last:,}", "other bytes")
            end = (
                shard.where["start"] + shard.size,
                shard.where["first_line"] + shard.where["lines"],
                int(shard.path.rpartition("#")[2]) + 1,
            )
            ends[name] = max(end, ends.get(name, end))
        new: list[Shard] = []
        for name, path in files.items():
            self._check_columns(path)
            new += _runs(path, name, *ends.get(name, (0, 1, 0)))
        return [*frozen, *new]

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its sample number `start`; blank lines are no samples."""
        path = self._file(shard)
        index = 0
        seen: set[str] = set()
        with open_file(path) as file:
            file.seek(shard.where["start"])
            for number in range(shard.where["first_line"], shard.where["first_line"] + shard.where["lines"]):
                line = _line(file)
                if not line.strip():
                    continue
                if index >= start or self._options.key_column:
                    row = self._row(line, number, path, shard, index, seen)
                    if index >= start:
                        yield row
                index += 1

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:  # noqa: ARG002
        """Return the bytes of one image by its key; lines have no offsets."""
        for sample in self.samples(shard):
            if isinstance(sample, Sample) and sample.key == key:
                return sample.image
        raise NotFoundError(f"{shard.path}: has no image of the key {key!r} any more")

    def _find(self) -> dict[str, Path]:
        self._files = find_files(self._options.inputs, (".jsonl",), "JSONL files", self._options.root)
        return self._files

    def _file(self, shard: Shard) -> Path:
        file = (self._files or self._find()).get(shard.where["file"])
        if file is None or not file.is_file():
            raise gone(shard.where["file"])
        return file

    def _check_columns(self, path: Path) -> None:
        """Raise UserError if the first readable line lacks a column that was asked for."""
        columns = list(first_object(path))
        asked = {
            "image_column": self._options.image_column,
            "caption_column": self._options.caption_column,
            "key_column": self._options.key_column,
        }
        for option, column in asked.items():
            if columns and column is not None and column not in columns:
                hint = near(column, columns) or f" It has: {', '.join(columns)}."
                raise UserError(f"{path}: has no column {column!r} ({option}).{hint}")

    def _row(
        self, line: bytes, number: int, path: Path, shard: Shard, index: int, seen: set[str]
    ) -> Sample | Unreadable:
        key = f"{number:08d}"
        try:
            fields = _object(line)
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

    def _image(self, fields: dict[str, Any], path: Path) -> bytes:
        column = self._options.image_column
        value = fields.get(column)
        if not isinstance(value, str) or not value:
            there = f"is {value!r:.40}" if column in fields else f"is missing; there are {', '.join(fields) or 'none'}"
            raise BadSampleError("no_image", f"the column {column!r} {there}")
        root = Path(self._options.image_root).expanduser() if self._options.image_root else path.parent
        data = _decoded(value) if _is_base64(value) else _read_inside(root, value)
        if not data:
            raise BadSampleError("empty", f"the image {value!r:.80} is empty (0 bytes)")
        return data


def first_object(path: Path) -> dict[str, Any]:
    """Return the first object among a file's first 100 lines; empty if there is none.

    Raises UserError for a file that is compressed, or one JSON list, which no line of can be read alone.
    """
    with open_file(path) as file:
        start = file.read(4)
        if start.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            raise UserError(f"{path}: compressed, where lines have no place to be read at; unpack it to .jsonl")
        file.seek(0)
        for _ in range(100):
            line = _line(file)
            if line.strip() in (b"[", b"[{") or line.lstrip().startswith(b"[{"):
                raise UserError(f"{path}: one JSON list, not an object a line; write it as JSON lines")
            try:
                return _object(line)
            except BadSampleError:
                continue
    return {}


def _runs(path: Path, name: str, at: int, line: int, number: int) -> Iterator[Shard]:
    """Yield shards of the lines from byte `at` on, the first of them line number `line` and shard `number`."""
    with open_file(path) as file:
        file.seek(at)
        digest, size, lines, ended = blake2b(digest_size=16), 0, 0, True
        for piece in iter(partial(file.readline, 1 << 20), b""):
            digest.update(piece)
            size += len(piece)
            ended = piece.endswith(b"\n")
            lines += ended
            if lines == LINES:
                yield _shard(name, number, at, size, line, lines, digest.hexdigest())
                at, line, number = at + size, line + lines, number + 1
                digest, size, lines = blake2b(digest_size=16), 0, 0
        if size:
            yield _shard(name, number, at, size, line, lines + (not ended), digest.hexdigest())


def _shard(name: str, number: int, at: int, size: int, line: int, lines: int, stamp: str) -> Shard:
    where = {"file": name, "start": at, "first_line": line, "lines": lines}
    return Shard(path=f"{name}#{number:05d}", size=size, stamp=stamp, where=where)


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _line(file: BinaryIO) -> bytes:
    """Return the next line; of one that is far too long, its start, and the rest is passed over."""
    line = file.readline(LONGEST_LINE)
    piece = line
    while len(piece) > 1 and not piece.endswith(b"\n"):
        piece = file.readline(1 << 20)
    return line


def _object(line: bytes) -> dict[str, Any]:
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


def _is_base64(value: str) -> bool:
    return value.startswith("data:") or _BASE64.fullmatch(value) is not None


def _decoded(value: str) -> bytes:
    if value.startswith("data:"):
        value = value.partition(",")[2]
    try:
        return b64decode("".join(value.split()), validate=True)
    except ValueError as error:
        raise BadSampleError("bad_line", f"the image is no whole base64 ({error})") from None


def _read_inside(root: Path, value: str) -> bytes:
    """Read an image below `root`; links are followed first and must stay below, too."""
    if "://" in value:
        raise BadSampleError("no_image", f"the image is an address ({value:.80}); nothing is downloaded here")
    if len(value) > _LONGEST_PATH or not value.isprintable():
        raise BadSampleError("no_image", f"the image is neither a path nor base64 of a known format ({value!r:.40})")
    try:
        file = (root / value).resolve()
        if not file.is_relative_to(root.resolve()):
            raise BadSampleError("unsafe_name", f"the image {value!r} lies outside {root}; set image_root to allow it")
        if not file.is_file():
            raise BadSampleError("missing", f"the image {value!r} is not there; it is looked for in {root}")
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BadSampleError("missing", f"the image {value!r} is not there; it is looked for in {root}") from None
    except (OSError, RuntimeError) as error:
        said = getattr(error, "strerror", None) or str(error)
        if said == "File name too long" or isinstance(error, RuntimeError):
            raise BadSampleError("missing", f"the image {value!r:.80} is no usable path ({said})") from None
        raise UserError(f"{root / value}: could not be read ({said}); check its permissions and its disk") from error
