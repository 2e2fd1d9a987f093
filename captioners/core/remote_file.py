"""A file of a store, read as a stream in blocks: at most three of them are in memory, whatever the file's size.

Read in order, the next block is fetched while this one is used. A block that comes short, or not at all, is fetched
again from where it begins; a file that is another one by then is never mixed with what was read of the first.
"""

import io
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from captioners.core.errors import StorageError, UserError
from captioners.core.failures import ShortBodyError
from captioners.core.remote import Remote, stamp_of

BLOCK = 8 << 20
"""Bytes fetched with one request."""


@dataclass(frozen=True)
class RemotePath:
    """A file, or a folder, in a store; with the methods of `pathlib.Path` that reading an input needs."""

    remote: Remote = field(repr=False, compare=False)
    path: str
    """As the store's file system has it, without the protocol."""
    size: int | None = None
    """Bytes, where they are known from a listing; -1 for a folder."""
    stamp: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.remote.at(self.path)

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(self.remote, f"{self.path.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """Its last part."""
        return PurePosixPath(self.path).name

    @property
    def suffix(self) -> str:
        """Its ending, with the dot."""
        return PurePosixPath(self.path).suffix

    @property
    def parent(self) -> "RemotePath":
        """The folder that it lies in."""
        return RemotePath(self.remote, self.path.rpartition("/")[0])

    def with_suffix(self, suffix: str) -> "RemotePath":
        """Return a file beside it with another ending."""
        return RemotePath(self.remote, self.path.removesuffix(self.suffix) + suffix)

    def known(self) -> "RemotePath":
        """Return it with its size and its stamp, asked for where they are not known; raises FileNotFoundError."""
        if self.size is not None:
            return self
        info = self.remote.info(self.path, absent=True)
        size = info.get("size")
        if info.get("type") == "directory":
            size = -1
        elif size is None:
            raise UserError(f"{self}: its server does not say how large it is, so it cannot be read in parts; copy it")
        return RemotePath(self.remote, self.path, size, stamp_of(info))

    def is_file(self) -> bool:
        """Whether it is there and no folder."""
        try:
            return (self.known().size or 0) >= 0
        except FileNotFoundError:
            return False

    def read_bytes(self) -> bytes:
        """Return its bytes; raises FileNotFoundError."""
        return self.remote.cat(self.path, absent=True)

    def read_range(self, offset: int, size: int) -> bytes:
        """Return so many bytes from `offset` on, fewer where it ends before."""
        return self.remote.cat(self.path, offset, size)

    def open(self) -> BinaryIO:
        """Open it for reading, as the file that its size and stamp say."""
        found = self.known()
        return cast(BinaryIO, io.BufferedReader(_Blocks(found), 1 << 16))


class _Blocks(io.RawIOBase):
    def __init__(self, path: RemotePath) -> None:
        self._path, self._size = path, path.size or 0
        self._at = 0
        self._file: Any = None
        self._held: tuple[int, bytes] = (-1, b"")
        self._ahead: tuple[int, Future[bytes]] | None = None
        self._fetching = threading.Lock()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self._at >= self._size or not view:
            return 0
        number, start = divmod(self._at, BLOCK)
        piece = memoryview(self._block(number))[start : start + len(view)]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        self._held, self._ahead = (-1, b""), None
        super().close()

    def _block(self, number: int) -> bytes:
        last, data = self._held
        if number == last:
            return data
        ahead, self._ahead = self._ahead, None
        data = ahead[1].result() if ahead is not None and ahead[0] == number else self._fetch(number)
        self._held = number, data
        if number == last + 1 > 0 and (number + 1) * BLOCK < self._size:
            self._ahead = number + 1, _soon(self._fetch, number + 1)
        return data

    def _fetch(self, number: int) -> bytes:
        start = number * BLOCK
        stop = min(start + BLOCK, self._size)

        def action(fs: Any) -> bytes:
            if self._file is None:
                self._file = self._opened(fs)
            try:
                self._file.seek(start)
                data = bytes(self._file.read(stop - start))
                if len(data) != stop - start:
                    raise ShortBodyError(f"{len(data):,} of {stop - start:,} bytes from byte {start:,} on came")
            except BaseException:
                self._file = None  # the next attempt asks anew, also with renewed credentials
                raise
            return data

        with self._fetching:
            return self._path.remote.run(action, self._path.path)

    def _opened(self, fs: Any) -> Any:
        """Open the file, so that what it gives is what was frozen or nothing (S3: If-Match)."""
        path = self._path
        file = fs.open(path.path, "rb", block_size=BLOCK, cache_type="none")
        info = getattr(file, "details", None) or {}
        if not stamp_of(info):
            info = fs.info(path.path)
        if (info.get("size"), stamp_of(info)) != (path.size, path.stamp):
            raise StorageError(
                f"{path}: has changed since it was listed ({path.size:,} bytes then, {info.get('size') or 0:,} now); "
                "bring the old one back, or start another run (output=...)",
                "changed",
            )
        if not getattr(file, "seekable", lambda: False)():
            raise UserError(f"{path}: its server gives no parts of files (HTTP ranges); copy it to a local disk")
        return file


def _soon(action: Any, *given: Any) -> "Future[bytes]":
    """Do something in a thread that nobody has to wait for when the program ends."""
    future: Future[bytes] = Future()

    def work() -> None:
        try:
            future.set_result(action(*given))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future
