"""A folder of files, here or in an object store (fsspec), with the two writes that a run rests on.

`write` replaces a file whole or not at all. `create` makes a file exactly once: of any number of processes that try,
one wins, and what it wrote is complete before anyone sees it (a hard link locally, a conditional put in a store).
"""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from captioners.core.errors import NotFoundError, UserError
from captioners.core.remote import Remote, is_remote
from captioners.core.remote_file import RemotePath

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


class Place:
    """A folder given by path or fsspec URL; every name in it is relative, with '/'.

    Raises:
        UserError: a name that would lead out of the folder.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        self._local: Path | None = None
        self._remote: Remote | None = None
        if is_remote(self.url):
            self._remote = Remote(self.url)
        else:
            self._local = Path(self.url.removeprefix("file://")).expanduser()

    def __repr__(self) -> str:
        return f"Place({self.url!r})"

    @property
    def local(self) -> Path | None:
        """The folder as a local path, or None if it is elsewhere."""
        return self._local

    def at(self, name: str) -> str:
        """Return where a file lies, a path or an address, for messages and readers that open it themselves."""
        path = self._path(name)
        return path if self._remote is None else self._remote.at(path)

    def _path(self, name: str) -> str:
        """Return a file's path, here or within its store."""
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise UserError(f"{name!r} is no name within {self.url}")
        if self._local is not None:
            return str(self._local.joinpath(*parts))
        assert self._remote is not None
        return "/".join((self._remote.root, *parts))

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Return a file's bytes, or `size` of them from `offset` on; raise NotFoundError if it is not there."""
        path = self._path(name)
        try:
            if self._remote is not None:
                return self._remote.cat(path, offset, size, absent=True)
            with Path(path).open("rb") as file:
                file.seek(offset)
                return file.read(-1 if size is None else size)
        except FileNotFoundError:
            raise NotFoundError(f"{self.at(name)}: no such file") from None

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        path = self._path(name)
        if self._remote is not None:
            return RemotePath(self._remote, path).is_file()
        return Path(path).exists()

    def names(self, under: str) -> Iterator[str]:
        """Yield the names of all files in a sub-folder and its sub-folders, sorted; none if it is not there.

        Names that begin with a dot are unfinished writes and are left out.
        """
        root = self._path(under)
        found: list[str] = []
        if self._local is not None:
            found = [
                (Path(folder) / file).relative_to(self._local).as_posix()
                for folder, _, files in os.walk(root, onerror=_raise_unless_gone)
                for file in files
            ]
        else:
            assert self._remote is not None
            start = len(self._remote.root) + 1
            with suppress(FileNotFoundError):
                listed = self._remote.run(lambda fs: fs.find(root), root, absent=True)
                found = [path[start:] for path in listed if not path.endswith("/")]
        yield from sorted(name for name in found if not PurePosixPath(name).name.startswith("."))

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole: readers see the old content or the new."""
        if self._remote is not None:
            self._remote.put(self._path(name), data)
            return
        target = Path(self._path(name))
        draft = _draft(target, data)
        draft.replace(target)
        _sync_folder(target.parent)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file if there is none of that name, and return whether this call did.

        In a store, equal bytes count as this call's (see `Remote.create`).
        """
        if self._remote is not None:
            return self._remote.create(self._path(name), data)
        target = Path(self._path(name))
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

    def take(self, name: str, file: Path) -> None:
        """Move a local file in, whole, which is on the disk safely; in a store it is uploaded in parts."""
        if self._remote is not None:
            self._remote.put_file(self._path(name), file)
            file.unlink()
            return
        target = Path(self._path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
        _sync_folder(target.parent)

    def move(self, old: str, new: str) -> None:
        """Give a file another name, in a store by a copy that it makes itself; it may have that name already."""
        source, target = self._path(old), self._path(new)
        if self._remote is not None:
            with suppress(FileNotFoundError):
                self._remote.run(lambda fs: fs.mv(source, target), target, absent=True)
            return
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            Path(source).replace(target)
        _sync_folder(Path(target).parent)

    def remove(self, name: str) -> None:
        """Remove a file; it may be gone already."""
        path = self._path(name)
        with suppress(FileNotFoundError):
            Path(path).unlink() if self._remote is None else self._remote.remove(path)


def _raise_unless_gone(error: OSError) -> None:
    """Let a folder be gone, and nothing else: one that cannot be read is not an empty one."""
    if not isinstance(error, FileNotFoundError):
        raise error


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
