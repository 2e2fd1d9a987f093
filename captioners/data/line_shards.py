"""Shards of a file of lines: runs of 1,000, known by their bytes; lines appended later make new ones."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import BinaryIO

from captioners.data.inputs import File, changed, gone, open_file
from captioners.data.source import Shard

LINES = 1000
"""Lines of a shard."""
LONGEST_LINE = 1 << 28
"""Bytes of the longest line that is read."""


def line_shards(files: Mapping[str, File], frozen: Sequence[Shard] = ()) -> list[Shard]:
    """Return all shards: those frozen first and unchanged, then the lines that no frozen shard has.

    Raises UserError for a frozen shard whose file is gone or whose bytes are others now.
    """
    ends: dict[str, tuple[int, int, int]] = {}
    for shard in frozen:
        name = shard.where["file"]
        if name not in files:
            raise gone(name)
        with open_file(files[name]) as file:
            file.seek(shard.where["start"])
            if blake2b(file.read(shard.size), digest_size=16).hexdigest() != shard.stamp:
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
        new += _runs(path, name, *ends.get(name, (0, 1, 0)))
    return [*frozen, *new]


def lines_of(path: File, shard: Shard) -> Iterator[tuple[int, bytes]]:
    """Yield a shard's lines with their numbers in the file, from 1; blank ones are left out."""
    with open_file(path) as file:
        file.seek(shard.where["start"])
        for number in range(shard.where["first_line"], shard.where["first_line"] + shard.where["lines"]):
            line = next_line(file)
            if line.strip():
                yield number, line


def next_line(file: BinaryIO) -> bytes:
    """Return the next line; of one that is far too long, its start, and the rest is passed over."""
    line = file.readline(LONGEST_LINE)
    piece = line
    while len(piece) > 1 and not piece.endswith(b"\n"):
        piece = file.readline(1 << 20)
    return line


def _runs(path: File, name: str, at: int, line: int, number: int) -> Iterator[Shard]:
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
