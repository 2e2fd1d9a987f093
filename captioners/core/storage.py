"""A folder of files, here or in an object store (fsspec), with the two writes that a run rests on.

`write` replaces a file whole or not at all. `create` makes a file exactly once: of any number of processes that try,
one wins, and what it wrote is complete before anyone sees it (a hard link locally, a conditional put elsewhere).
"""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from captioners.core.errors import NotFoundError, UserError

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


class Place:
    """A folder given by path or fsspec URL; every name in it is relative, with '/'.

    Raises:
        UserError: a name that would lead out of the folder.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        self._local = Path(self.url.removeprefix("file://")).expanduser() if _is_local(self.url) else None
        self._fs: Any = None
        self._root = ""
        if self._local is None:
            import fsspec

            self._fs, self._root = fsspec.core.url_to_fs(self.url)

    def __repr__(self) -> str:
        return f"Place({self.url!r})"

    @property
    def local(self) -> Path | None:
        """The folder as a local path, or None if it is elsewhere."""
        return self._local

    def at(self, name: str) -> str:
        """Return where a file lies, for messages and readers that open paths themselves."""
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise UserError(f"{name!r} is no name within {self.url}")
        if self._local is not None:
            return str(self._local.joinpath(*parts))
        return "/".join((self._root.rstrip("/"), *parts))

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Return a file's bytes, or `size` of them from `offset` on; raise NotFoundError if it is not there."""
        try:
            with self._open(name, "rb") as file:
                file.seek(offset)
                return bytes(file.read(-1 if size is None else size))
        except FileNotFoundError:
            raise NotFoundError(f"{self.at(name)}: no such file") from None

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return Path(self.at(name)).exists() if self._local is not None else bool(self._fs.exists(self.at(name)))

    def names(self, under: str) -> Iterator[str]:
        """Yield the names of all files in a sub-folder and its sub-folders, sorted; none if it is not there.

        Names that begin with a dot are unfinished writes and are left out.
        """
        root = self.at(under)
        if self._local is not None:
            found = [
                (Path(folder) / file).relative_to(self._local).as_posix()
                for folder, _, files in os.walk(root)
                for file in files
            ]
        else:
            start = len(self._root.rstrip("/")) + 1
            with suppress(FileNotFoundError):
                self._fs.invalidate_cache()
            found = [path[start:] for path in (self._fs.find(root) if self._fs.exists(root) else [])]
        yield from sorted(name for name in found if not PurePosixPath(name).name.startswith("."))

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole: readers see the old content or the new."""
        if self._local is None:
            self._fs.pipe_file(self.at(name), data)
            return
        target = Path(self.at(name))
        draft = _draft(target, data)
        draft.replace(target)
        _sync_folder(target.parent)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file if there is none of that name, and return whether this call did."""
        if self._local is None:
            return self._create_object(name, data)
        target = Path(self.at(name))
        if target.exists():
            return False
        draft = _draft(target, data)
        try:
            os.link(draft, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _create_without_links(target, draft)
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(target.parent)
        return True

    def _create_object(self, name: str, data: bytes) -> bool:
        path = self.at(name)
        try:
            if self._fs.exists(path):
                return False
            with self._fs.open(path, "xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file; it may be gone already."""
        with suppress(FileNotFoundError):
            Path(self.at(name)).unlink() if self._local is not None else self._fs.rm_file(self.at(name))

    def _open(self, name: str, mode: str) -> Any:
        return Path(self.at(name)).open(mode) if self._local is not None else self._fs.open(self.at(name), mode)


def _is_local(url: str) -> bool:
    return "://" not in url or url.startswith("file://")


def _draft(target: Path, data: bytes) -> Path:
    """Write `data` beside its place, safely on disk, under a name that no reader takes for a file of the run."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid.uuid4().hex[:12]}.part")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _create_without_links(target: Path, draft: Path) -> bool:
    # A file system without hard links (some network mounts, FAT). The name is taken exclusively, then filled by a
    # rename over it; a kill in between leaves an empty file, which readers of the ledger know as unfinished.
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    draft.replace(target)
    _sync_folder(target.parent)
    return True


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
