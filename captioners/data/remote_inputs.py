"""Inputs in an object store, on a hub or a web server: from addresses and patterns to files with size and stamp.

One listing tells both, so a million shards cost a thousand requests. A web server lists nothing: its files are named.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from glob import has_magic
from pathlib import PurePosixPath
from typing import Any

from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.remote import Remote, stamp_of
from captioners.core.remote_file import RemotePath

_ASKED_ALONE = 8
"""Names of one folder that are asked for one by one; of more, the folder is listed."""
_ASKERS = 16
_WILD = re.compile(r"[*?\[{]")
_FILE = re.compile(r"\.[A-Za-z]\w*$")
"""How the name of a file ends, and that of a folder does not (`v1.0`)."""
_WEB = ("http", "https")


class RemoteInputs:
    """The stores that a source's inputs lie in: one for each protocol.

    Args:
        expand: from a pattern with braces to all its names.
    """

    def __init__(self, expand: Callable[[str], list[str]]) -> None:
        self._expand = expand
        self._stores: dict[str, Remote] = {}

    def store(self, given: str) -> Remote:
        """Return the store of an address; raise UserError for one that cannot be used."""
        protocol = given.partition("://")[0]
        found = Remote(given)  # also to refuse what is in the address
        return self._stores.setdefault(protocol, found)

    def root(self, inputs: Sequence[str], root: str | None = None) -> RemotePath:
        """Return the folder that names are relative to; asks no server."""
        protocols = {given.partition("://")[0] for given in inputs}
        if len(protocols) > 1:
            raise UserError(f"inputs of several kinds of storage ({', '.join(sorted(protocols))}); name one of them")
        store = self.store(root or inputs[0])
        if root:
            return RemotePath(store, _path(store, root))
        common: list[str] | None = None
        for given in inputs:
            parts = _base(_path(store, given)).split("/")
            same = next((n for n, (a, b) in enumerate(zip(common or parts, parts, strict=False)) if a != b), None)
            common = parts[: min(len(common or parts), len(parts)) if same is None else same]
        return RemotePath(store, "/".join(common or []))

    def find(self, given: str, suffixes: tuple[str, ...], noun: str) -> list[RemotePath]:
        """Return the files of one input, a folder's sorted and chosen by `suffixes`.

        Raises:
            NotFoundError: nothing is there, or one name of a brace pattern is not.
        """
        store = self.store(given)
        path = _path(store, given)
        if not _WILD.search(path):
            return self._file_or_folder(store, path, suffixes, noun)
        names = self._expand(path)
        plain = [name for name in names if not has_magic(name)]
        found = self._named(store, plain, given, noun)
        for name in names:
            if has_magic(name):
                start = len(_base(name)) + 1
                found += [f for f in _listed(store, partial(_glob, name), name) if not _hidden(f.path[start:])]
        if not found:
            raise _missing(store, path, noun)
        return found

    def _file_or_folder(self, store: Remote, path: str, suffixes: tuple[str, ...], noun: str) -> list[RemotePath]:
        try:
            file = RemotePath(store, path).known()
        except FileNotFoundError:
            raise _missing(store, path, noun) from None
        if file.size != -1:
            return [file]
        if store.protocol in _WEB:
            raise UserError(f"{file}: a web server does not list its files; name them, as in .../{{00000..00099}}.tar")
        return [
            found
            for found in _listed(store, partial(_under, path), path)
            if found.path.lower().endswith(suffixes) and not _hidden(found.path[len(path) + 1 :])
        ]

    def _named(self, store: Remote, names: Sequence[str], given: str, noun: str) -> list[RemotePath]:
        """Return the files of these very names."""
        folders: dict[str, list[str]] = {}
        for name in names:
            folders.setdefault(name.rpartition("/")[0], []).append(name)
        there: dict[str, RemotePath] = {}
        alone: list[str] = []
        for folder, wanted in folders.items():
            if len(wanted) <= _ASKED_ALONE or store.protocol in _WEB:
                alone += wanted
                continue
            listed = _listed(store, partial(_inside, folder), folder)
            there |= {file.path: file for file in listed}
        with ThreadPoolExecutor(_ASKERS) as pool:
            there |= {file.path: file for file in pool.map(lambda name: _known(store, name), alone) if file}
        lost = [name for name in names if name not in there]
        if lost:
            some = ", ".join(PurePosixPath(name).name for name in lost[:3]) + (", ..." if len(lost) > 3 else "")
            raise NotFoundError(
                f"{given}: {len(lost):,} of {len(names):,} {noun} are not there ({some})."
                f"{_near(store, lost[0]) or ' Name the folder to take what is there.'}"
            )
        return [there[name] for name in names]


def below(root: RemotePath, files: Iterable[RemotePath]) -> Iterator[tuple[str, RemotePath]]:
    """Yield each file with its name below the root.

    Raises:
        UserError: a file that does not lie there, or a key that would lead elsewhere on a disk.
    """
    start = f"{root.path}/" if root.path else ""
    for file in files:
        if not file.path.startswith(start):
            raise UserError(f"{file}: does not lie below the input root {root}; choose another root")
        name = file.path[len(start) :]
        if not name.isprintable() or any(part in ("", ".", "..") for part in name.split("/")):
            raise UserError(f"{str(file)!r}: a key that is no path below a folder; rename it, or leave it out")
        yield name, file


def _path(store: Remote, given: str) -> str:
    """Return an address as a path of its store."""
    whole = given.rstrip("/")
    return whole if store.protocol in _WEB else whole.partition("://")[2]


def _base(path: str) -> str:
    wild = _WILD.search(path)
    if wild or _FILE.search(path.rpartition("/")[2]):
        return path[: wild.start() if wild else None].rpartition("/")[0]
    return path


def _glob(pattern: str, fs: Any) -> Mapping[str, Any]:
    return dict(fs.glob(pattern, detail=True))


def _under(folder: str, fs: Any) -> Mapping[str, Any]:
    return dict(fs.find(folder, detail=True))


def _inside(folder: str, fs: Any) -> Mapping[str, Any]:
    return {about["name"]: about for about in fs.ls(folder, detail=True)}


def _listed(store: Remote, ask: Callable[[Any], Mapping[str, Mapping[str, Any]]], path: str) -> list[RemotePath]:
    try:
        found = store.run(ask, path, absent=True)
    except FileNotFoundError:
        return []
    files = (about for about in found.values() if about.get("type") == "file" and not about["name"].endswith("/"))
    listed = (RemotePath(store, about["name"], about["size"], stamp_of(about)) for about in files)
    return sorted(listed, key=lambda file: PurePosixPath(file.path))


def _known(store: Remote, name: str) -> RemotePath | None:
    try:
        file = RemotePath(store, name).known()
    except FileNotFoundError:
        return None
    return file if file.size != -1 else None


def _hidden(name: str) -> bool:
    parts = name.split("/")
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in parts)


def _missing(store: Remote, path: str, noun: str) -> NotFoundError:
    advice = _near(store, path) or " Check the address; a pattern needs quotes."
    return NotFoundError(f"{store.at(path)}: no such {noun}.{advice}")


def _near(store: Remote, path: str) -> str:
    """Return "Did you mean ..." for what lies beside a path that is not there."""
    folder, _, name = path.rpartition("/")
    if store.protocol in _WEB or not folder or _WILD.search(path):
        return ""
    listed = _listed(store, partial(_inside, folder), folder)
    return near(name, [file.name for file in listed])
