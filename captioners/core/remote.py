"""An object store, a hub or a web server through fsspec: each request is tried again while the infrastructure fails.

Credentials come from the usual environment of each store alone and are read anew when they are refused. An error that
lasts is a StorageError of one line, which shows no secret.
"""

import logging
import mmap
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from captioners.core import faults
from captioners.core.errors import NotFoundError, StorageError, UserError
from captioners.core.failures import Reason, code_of, is_infrastructure, retrying, status_of, words
from captioners.core.secrets import find_secrets

T = TypeVar("T")

PART = 16 << 20
"""Bytes of a part of a large upload; what is not larger goes in one request."""

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "http", "https": "http"}
_S3 = {"config_kwargs": {"retries": {"total_max_attempts": 1}}}  # we try again ourselves, and say so
_OPTIONS: Mapping[str, Mapping[str, Any]] = {"s3": _S3, "s3a": _S3}
_STAMPS = ("ETag", "etag", "blob_id", "md5Hash", "Content-MD5", "LastModified", "Last-Modified", "updated", "created")
_ADVICE: Mapping[Reason, tuple[str, str]] = {
    "credentials": ("access was refused", "check or renew the credentials of the environment"),
    "not found": ("it is not there any more", "bring it back"),
    "changed": ("it is another object now", "bring the old one back"),
    "throttled": ("the store asks to slow down", "wait a while, or use fewer workers"),
    "no space": ("no space is left", "free some"),
}
_log = logging.getLogger("captioners.storage")


def is_remote(url: str) -> bool:
    """Whether a text is an address and no path of this machine.

    >>> is_remote("s3://bucket/x"), is_remote("file:///x"), is_remote("data/x")
    (True, False, False)
    """
    return "://" in url and not url.startswith("file://")


class Remote:
    """The store that an address is in, and where in it.

    Raises:
        UserError: a protocol that nobody knows, a package that is not installed, or a secret in the address.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.protocol = url.partition("://")[0]
        if any(find_secrets(url)):
            raise UserError(
                f"{self.protocol}://...: the address holds what looks like a secret and was not used; give "
                "credentials by the store's environment variables or files"
            )
        if "::" in url:
            raise UserError(f"{url}: addresses within addresses ('::') are not read; name the file itself")
        self._fs: Any = None
        self.root = str(self._connect()._strip_protocol(url)).rstrip("/")

    def __repr__(self) -> str:
        return f"Remote({self.url!r})"

    def at(self, path: str) -> str:
        """Return a path of this store as an address, for messages."""
        return path if "://" in path else f"{self.protocol}://{path}"

    def run(self, action: Callable[[Any], T], path: str, *, absent: bool = False, attempts: int | None = None) -> T:
        """Return what `action` returns for the fsspec file system; `path` is what messages are about.

        Args:
            absent: whether nothing may be there: FileNotFoundError is then raised at once.
            attempts: times in all; default: as `retrying`.

        Raises:
            StorageError: the infrastructure failed for as long as it was tried. UserError: the store refuses the call.
        """
        gone: list[FileNotFoundError] = []

        def once() -> T | None:
            try:
                return action(self._connect())
            except FileNotFoundError as error:
                if code_of(error) == "NoSuchBucket":
                    raise NotFoundError(f"{self.at(path)}: there is no such bucket; check its name") from None
                if not absent or is_infrastructure(error) != "not found":
                    raise
                gone.append(error)
                return None

        where = self.at(path)
        try:
            answer = retrying(
                once, attempts=attempts, say=lambda line: _log.info("%s: %s", where, line), failed=self._renew
            )
        except Exception as error:
            raise self._said(error, where) from error
        if gone:
            raise FileNotFoundError(where)
        return answer  # type: ignore[return-value]  # None only if something is gone

    def info(self, path: str, *, absent: bool = False) -> dict[str, Any]:
        """Return what the store says of a file: name, size, type, stamp."""
        return dict(self.run(lambda fs: fs.info(path), path, absent=absent))

    def cat(self, path: str, offset: int = 0, size: int | None = None, *, absent: bool = False) -> bytes:
        """Return a file's bytes, or at most `size` of them from `offset` on."""

        def action(fs: Any) -> bytes:
            try:
                return bytes(fs.cat_file(path, start=offset, end=None if size is None else offset + size))
            except Exception as error:
                if status_of(error) == 416:  # a range that begins at the end, or beyond it
                    return b""
                raise

        return b"" if size == 0 else self.run(action, path, absent=absent)

    def put(self, path: str, data: bytes) -> None:
        """Write a file whole; readers see the old content or the new."""
        self.run(lambda fs: _upload(fs, path, data, "wb"), path)

    def put_file(self, path: str, file: Path) -> None:
        """Write a local file whole, without holding it in memory."""
        if file.stat().st_size <= PART:
            self.put(path, file.read_bytes())
            return
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            self.run(lambda fs: _upload(fs, path, data, "wb"), path)

    def create(self, path: str, data: bytes) -> bool:
        """Write a file if there is none of that name, and return whether this call did.

        An answer may get lost after the store has written, and the client's libraries then ask again without a word.
        So where a file stands already, it is ours if its bytes are: what must have one maker has to name him.
        """

        def action(fs: Any) -> bool:
            try:
                _upload(fs, path, data, "xb")
            except Exception as error:
                if isinstance(error, FileExistsError) or status_of(error) == 412:
                    return False
                raise
            return True

        return self.run(action, path) or self.cat(path) == data

    def remove(self, path: str) -> None:
        """Remove a file; raise FileNotFoundError where the store says that there is none."""
        self.run(lambda fs: fs.rm_file(path), path, absent=True)

    def _renew(self, reason: Reason) -> None:
        if reason == "credentials":
            self._fs = None

    def _connect(self) -> Any:
        if self._fs is None:
            import fsspec

            again = self._connected
            try:
                kind = fsspec.get_filesystem_class(self.protocol)
            except ImportError as error:
                extra = _EXTRAS.get(self.protocol)
                how = f"pip install 'captioners[{extra}]'" if extra else str(error)
                raise UserError(f"{self.protocol}:// needs a package that is not installed: {how}") from None
            except ValueError:
                raise UserError(f"{self.url}: no kind of storage is called {self.protocol}://") from None
            options = {"use_listings_cache": False, **_OPTIONS.get(self.protocol, {})}
            # A new instance reads the environment and the files of credentials again; the kept one never does.
            self._fs = kind(skip_instance_cache=again, **options)
            if hasattr(self._fs, "retries"):
                self._fs.retries = 1  # s3fs's own, on top of botocore's
            self._connected = True
        return self._fs

    _connected = False

    def _said(self, error: Exception, where: str) -> Exception:
        reason = is_infrastructure(error)
        if isinstance(error, UserError | StorageError):
            return error
        if reason is not None:
            what, advice = _ADVICE.get(reason, (f"storage failed: {reason}", "wait a while"))
            return StorageError(
                f"{where}: {what} ({words(error)}); {advice}, then run the same command again: what is stored stays",
                reason,
            )
        if isinstance(error, OSError | ValueError) or type(error).__module__.startswith("botocore"):
            return UserError(f"{where}: the store does not take this ({words(error)}); check the address")
        return error


def stamp_of(info: Mapping[str, Any]) -> str:
    """Return what changes when a file's content may have changed, as its store says it; empty if it says nothing."""
    lfs = info.get("lfs") or {}
    found = (lfs.get("sha256") if isinstance(lfs, dict) else None, *(info.get(name) for name in _STAMPS))
    return next((re.sub(r'^(W/)?"|"$', "", str(value)) for value in found if value), "")


def _upload(fs: Any, path: str, data: "bytes | mmap.mmap", mode: str) -> None:
    """Write in one request, or in parts that appear together with the last one."""
    if len(data) <= PART:
        # Not open("xb"): s3fs writes an empty file by another call, which replaces what is there.
        fs.pipe_file(path, data, mode="create" if mode == "xb" else "overwrite")
        return
    file = fs.open(path, mode, block_size=PART)
    try:
        for start in range(0, len(data), PART):
            file.write(data[start : start + PART])
            faults.point("during_upload")
        file.close()
    except BaseException:
        with suppress(Exception):
            file.closed = True  # or its destructor would finish the upload
            file.discard()
        raise
