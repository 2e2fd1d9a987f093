"""Write tars whose bytes depend on nothing but their content, and read tars of others without trusting them.

The reader unpacks nothing to disk and follows nothing: links, devices and names that lead out of the archive are handed
out marked `unsafe`, never with bytes. A tar that ends early gives its whole members, then one `Fault` that says where.
"""

import io
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self
from uuid import uuid4

from captioners.core.errors import StorageError, UserError
from captioners.data.texts import printable

COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""Refused by name: inside them no image has an offset that `show` and `report` could read at."""

LARGEST_MEMBER = 1 << 30
"""Bytes of the largest member that is read into memory."""

_EXTENSION = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class TarWriter:
    """A tar that appears under `path` whole, or not at all.

    It is written beside under a hidden name, flushed to the disk and renamed when the `with` block ends; if the block
    raises, nothing appears. Equal members in equal order give equal bytes: GNU format, mtime 0, mode 0644, no owner.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._part = self.path.with_name(f".{self.path.name}.{uuid4().hex[:8]}.part")
        self._keys: set[str] = set()

    def __enter__(self) -> Self:
        self._file = self._part.open("xb")
        # GNU, not pax: no extra headers save for names beyond 100 bytes, and none that carry a time.
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8")
        return self

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Append one sample: `members` maps extensions (`jpg`, `syn.json`) to bytes; they are sorted by extension.

        Raises UserError for a key or extension that readers would split, skip or follow elsewhere, and for a key that
        the tar has already; nothing of the sample is written then.
        """
        check_key(key)
        if key in self._keys:
            raise UserError(f"{self.path}: the key {key!r} comes twice; a shard's keys must differ")
        if not members:
            raise ValueError(f"{key}: a sample without members")
        for extension in members:
            if not _EXTENSION.fullmatch(extension):
                raise UserError(f"{key}: {extension!r} is no extension; use small letters and digits, as in 'syn.json'")
        self._keys.add(key)
        for extension in sorted(members):
            info = tarfile.TarInfo(f"{key}.{extension}")
            info.size = len(members[extension])
            info.mode = 0o644
            self._tar.addfile(info, io.BytesIO(members[extension]))

    def drop(self) -> None:
        """End without the `with` block's end: nothing appears."""
        self.__exit__(GeneratorExit, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._tar.close()
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                self._part.replace(self.path)
                _sync_folder(self.path.parent)
        finally:
            with suppress(OSError):  # on a full disk even closing fails
                self._file.close()
            self._part.unlink(missing_ok=True)


def check_key(key: str) -> None:
    """Raise UserError unless every reader of webdataset shards takes `key` for one key; it may lie in folders."""
    wrong = (
        "is empty"
        if not key
        else "has a dot, where readers end the key"
        if "." in key
        else "has a slash that leads nowhere, or a backslash"
        if "\\" in key or not all(key.split("/"))
        else "has characters that cannot be printed or written as UTF-8"
        if not key.isprintable()  # surrogates are not printable, either
        else ""
    )
    if wrong:
        raise UserError(f"the key {key!r} {wrong}; a shard's keys are letters, digits, '_' and '-'")


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot sync a folder; the file itself is safe
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@dataclass(frozen=True)
class Member:
    """A file in a tar, or what only pretends to be one."""

    name: str
    """With '/', without a leading './', escaped where it could not be printed."""
    size: int
    offset: int | None
    """Where its bytes begin in the tar; None for a sparse file, whose bytes don't lie in one run."""
    unsafe: str = ""
    """Why its bytes are not handed out: a link, a device, a name that leads out of the archive. Empty: nothing."""
    span: tuple[int, int] = (0, 0)
    """Where its header begins in the tar and where the next one does: these bytes, by themselves, are a tar of it."""
    _info: tarfile.TarInfo | None = field(default=None, repr=False, compare=False)

    @property
    def stored_name(self) -> str:
        """Its name as other readers meet it: with a leading './', if there is one."""
        return self.name if self._info is None else printable(self._info.name)


@dataclass(frozen=True)
class Fault:
    """Why a tar cannot be read further; always the last thing a reader yields."""

    reason: Literal["empty", "not_a_tar", "cut_tar"]
    error: str
    """What is wrong and what to do, without the file's name."""
    offset: int


class TarReader:
    """The members of an open tar in order; `read` gives the bytes of any of them while the file is open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._tar: tarfile.TarFile | None = None

    def __iter__(self) -> Iterator[Member | Fault]:
        """Yield members (folders left out), then a `Fault` if the archive does not end as it should.

        Nothing but OSError and StorageError is raised, and they mean the disk or the store.
        """
        if self._size == 0:
            yield Fault("empty", "the file is empty (0 bytes); copy or download it again", 0)
            return
        fault = self._open()
        if fault is not None:
            yield fault
            return
        assert self._tar is not None
        at = 0
        while True:
            self._file.seek(at)
            try:
                info = self._tar.tarinfo.fromtarfile(self._tar)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # a block of zeros: the proper end
                return
            except (OSError, StorageError):
                raise
            except Exception as error:  # a hostile header makes tarfile raise nearly anything
                yield self._cut(at, error)
                return
            # `tar.offset` is the next header's place; a header of negative size would send us back for ever.
            after = self._tar.offset
            if info.size < 0 or after <= at:
                yield self._cut(at, "a header with an impossible size")
                return
            # A sparse file says its unpacked size; what it takes in the archive, tarfile reckoned into `offset`.
            if info.isreg() and max(after if info.issparse() else 0, info.offset_data + _stored(info)) > self._size:
                yield self._cut(at, f"{printable(info.name)} is cut")
                return
            if not info.isdir():
                yield _member(info, (at, after))
            at = after

    def read(self, member: Member) -> bytes:
        """Return a member's bytes; of an unsafe or an enormous one, none: UserError."""
        if member.unsafe or member._info is None:
            raise UserError(f"{member.name}: {member.unsafe}; it is not read")
        if member.size > LARGEST_MEMBER:
            raise UserError(f"{member.name}: {member.size:,} bytes, more than the limit of {LARGEST_MEMBER:,}")
        if member.offset is not None:
            self._file.seek(member.offset)
            return self._file.read(member.size)
        assert self._tar is not None
        try:
            file = self._tar.extractfile(member._info)
            assert file is not None
            return file.read()
        except (OSError, StorageError):
            raise
        except Exception as error:  # a hostile map of holes
            raise UserError(f"{member.name}: a sparse file that cannot be unpacked ({error})") from error

    def _open(self) -> Fault | None:
        self._file.seek(0)
        start = self._file.read(tarfile.BLOCKSIZE)
        for magic, kind in _MAGIC.items():
            if start.startswith(magic):
                return Fault("not_a_tar", f"compressed with {kind}; unpack it to a plain .tar", 0)
        self._file.seek(0)
        try:
            self._tar = tarfile.TarFile(fileobj=self._file, mode="r", encoding="utf-8", errors="surrogateescape")
        except (OSError, StorageError):
            raise
        except Exception as error:
            try:
                tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
            except Exception:
                return Fault("not_a_tar", f"not a tar (it starts with {start[:8]!r}); make it a plain .tar", 0)
            return self._cut(0, error)
        return None

    def _cut(self, at: int, why: Exception | str) -> Fault:
        if isinstance(why, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            why = "the file ends without the archive's end mark"
        said = " ".join(str(why).split()) or type(why).__name__
        return Fault("cut_tar", f"broken at byte {at:,} of {self._size:,} ({said}); copy or download it again", at)


def _stored(info: tarfile.TarInfo) -> int:
    return 0 if info.issparse() else info.size


def _member(info: tarfile.TarInfo, span: tuple[int, int]) -> Member:
    name = printable(info.name)
    while name.startswith("./"):
        name = name[2:]
    return Member(name, info.size, None if info.issparse() else info.offset_data, _unsafe(info), span, info)


def _unsafe(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return f"a link to {printable(info.linkname)!r}, which is not followed"
    if not info.isreg():
        return "a device or pipe, not a file"
    if info.name.startswith("/") or ".." in info.name.split("/"):
        return "a name that leads out of the archive"
    if printable(info.name) != info.name:
        return "a name that is not printable UTF-8"
    return ""
