"""From what `inputs` says (files, folders, quoted brace patterns, globs) to files with names relative to their root.

Files may lie on this machine or, for the sources that stream, elsewhere (`s3://`, `gs://`, `hf://`, `https://`).

A shard's name is its path below the input root, so `00/0.tar` and `01/0.tar` never collide, and a dataset that moved
as a whole keeps its names. The root is the folder that all inputs share: the folder itself for a folder, what stands
before the first brace or star of a pattern.
"""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import BinaryIO

from captioners.core.errors import NotFoundError, StorageError, UserError, near
from captioners.core.remote import Remote, is_remote
from captioners.core.remote_file import RemotePath
from captioners.data.remote_inputs import RemoteInputs, below
from captioners.data.source import Shard

File = Path | RemotePath
"""A file or a folder, on this machine or elsewhere."""

MOST_NAMES = 1_000_000
"""Names that one brace pattern may stand for."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")
_WILD = re.compile(r"[*?\[{]")
_REMOTE = re.compile(r"^([a-z][a-z0-9+]*)(://|:(?=\S*://))|^pipe:")


def expand_braces(pattern: str) -> list[str]:
    """Return what a shell would make of `{00000..00099}`, `{0..9..3}` and `{a,b}`; any other braces stay.

    >>> expand_braces("{00..01}/{a,b}.tar")
    ['00/a.tar', '00/b.tar', '01/a.tar', '01/b.tar']
    """
    parts = _BRACES.split(pattern)  # text, braces, text, braces, ..., text
    choices: list[Sequence[str]] = []
    total = 1
    for place, part in enumerate(parts):
        found: Sequence[str] = [part] if place % 2 == 0 else _alternatives(part, pattern)
        total *= len(found)
        if total > MOST_NAMES:
            raise UserError(f"{pattern}: stands for more than {MOST_NAMES:,} files; is a number too long?")
        choices.append(found)
    return ["".join(chosen) for chosen in product(*choices)]


def _alternatives(inside: str, pattern: str) -> list[str]:
    match = _RANGE.fullmatch(inside)
    if not match:
        return inside.split(",") if "," in inside else ["{" + inside + "}"]
    first, last, by = match.groups()
    low, high, step = int(first), int(last), abs(int(by or 1)) or 1
    if abs(high - low) // step >= MOST_NAMES:
        raise UserError(f"{pattern}: stands for more than {MOST_NAMES:,} files; is a number too long?")
    padded = any(len(text.lstrip("-")) > 1 and text.lstrip("-").startswith("0") for text in (first, last))
    width = max(len(first), len(last)) if padded else 0
    numbers = range(low, high + 1, step) if low <= high else range(low, high - 1, -step)
    return [f"{number:0{width}d}" for number in numbers]


def find_inputs(inputs: Sequence[str], suffixes: Iterable[str], noun: str, root: str | None = None) -> dict[str, File]:
    """Return name -> file for all `inputs`, as `find_files` does, also for addresses.

    Raises: as `find_files`; StorageError where a store fails.
    """
    if not any(is_remote(given) for given in inputs):
        return dict(find_files(inputs, suffixes, noun, root))
    endings = tuple(suffixes)
    stores = RemoteInputs(expand_braces)
    top = stores.root(inputs, root)
    files = {file: None for given in inputs for file in stores.find(given, endings, noun)}
    if not files:
        raise _nothing(inputs, endings, noun)
    return dict(below(top, files))


def find_files(inputs: Sequence[str], suffixes: Iterable[str], noun: str, root: str | None = None) -> dict[str, Path]:
    """Return name -> file for all `inputs` on this machine, in their order, folders sorted.

    `suffixes` choose within folders, `noun` is what messages call the files. Names are relative to `root` or to the
    folder that all inputs share.

    Raises:
        NotFoundError: a file, a folder or one name of a brace pattern does not exist, or nothing was found at all.
        UserError: not a local path, or a file that does not lie below `root`.
    """
    endings = tuple(suffixes)
    files: dict[Path, None] = {}
    for given in inputs:
        files.update(dict.fromkeys(_resolve(given, endings, noun)))
    if not files:
        raise _nothing(inputs, endings, noun)
    top = local_root(inputs, root)
    named = {}
    for file in files:
        if not file.is_relative_to(top):
            raise UserError(f"{file}: does not lie below the input root {top}; choose another root")
        named[file.relative_to(top).as_posix()] = file
    return named


def _nothing(inputs: Sequence[str], endings: tuple[str, ...], noun: str) -> NotFoundError:
    what = ", ".join(map(repr, inputs)) or "nothing was given"
    return NotFoundError(f"no {noun} found ({what}); name {_some(endings)} files, folders of them or a pattern")


def input_root(inputs: Sequence[str], root: str | None = None) -> File:
    """Return the folder that names are relative to, whether or not anything is there."""
    if any(is_remote(given) for given in inputs):
        return RemoteInputs(expand_braces).root(inputs, root)
    return local_root(inputs, root)


def local_root(inputs: Sequence[str], root: str | None = None) -> Path:
    """Return the folder on this machine that names are relative to."""
    return _absolute(root) if root else Path(os.path.commonpath([_base(given) for given in inputs]))


def place(given: str) -> File:
    """Return what a path or an address means."""
    if is_remote(given):
        store = Remote(given)
        return RemotePath(store, store.root)
    return Path(given).expanduser()


def _base(given: str) -> Path:
    path = _absolute(given)
    if path.is_dir():
        return path
    wild = None if path.exists() else _WILD.search(str(path))
    return Path(str(path)[: wild.start()] + "x").parent if wild else path.parent


def _absolute(given: str) -> Path:
    return Path(os.path.abspath(Path(given).expanduser()))  # noqa: PTH100  # a linked folder keeps its given name


def _resolve(given: str, suffixes: tuple[str, ...], noun: str) -> list[Path]:
    if match := _REMOTE.match(given):
        raise UserError(f"{given}: {match.group(0)} is not read by this source; copy the {noun} to a local disk")
    path = _absolute(given)
    if path.is_dir():
        return sorted(_walk(path, suffixes))
    if path.exists():
        return [path]
    if not _WILD.search(given):
        raise _missing(path, noun)
    names = expand_braces(str(path))
    found: list[Path] = []
    lost: list[str] = []
    for name in names:
        if glob.has_magic(name):
            found += map(Path, sorted(glob.glob(name, recursive=True)))  # noqa: PTH207  # the pattern is absolute
        elif Path(name).is_file():
            found.append(Path(name))
        else:
            lost.append(name)
    if lost:
        some = ", ".join(Path(name).name for name in lost[:3]) + (", ..." if len(lost) > 3 else "")
        advice = near(Path(lost[0]).name, _siblings(Path(lost[0]))) or " Name the folder to take what is there."
        raise NotFoundError(f"{given}: {len(lost):,} of {len(names):,} {noun} are not there ({some}).{advice}")
    if not found:
        raise _missing(path, noun)
    return [file for file in found if file.is_file()]


def _walk(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield regular files by suffix; hidden files and folders and links to folders are left out, as in list_images."""
    for where, folders, files in os.walk(folder, onerror=_refused):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for name in files:
            file = Path(where, name)
            if not name.startswith(".") and name.lower().endswith(suffixes) and file.is_file():
                yield file


def _refused(error: OSError) -> None:
    raise UserError(f"{error.filename}: could not be read ({error.strerror}); check its permissions") from error


def _siblings(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []


def _missing(path: Path, noun: str) -> NotFoundError:
    above = path.parent
    if not above.is_dir() and not _WILD.search(str(above)):
        return _missing(above, noun)
    advice = near(path.name, _siblings(path)) or " Check the path; a pattern needs quotes."
    return NotFoundError(f"{path}: no such {noun}.{advice}")


def _some(suffixes: tuple[str, ...]) -> str:
    shown = ", ".join(suffixes[:3])
    return shown + (", ..." if len(suffixes) > 3 else "")


def keep_frozen(frozen: Sequence[Shard], found: Sequence[Shard]) -> list[Shard]:
    """Return `frozen` as it was, then what is new in `found`; a frozen shard that is gone or changed is a UserError."""
    now = {shard.path: shard for shard in found}
    for old in frozen:
        new = now.get(old.path)
        if new is None:
            raise gone(old.path)
        if (new.size, new.stamp) != (old.size, old.stamp):
            raise changed(old.path, f"{old.size:,} bytes then, {new.size:,} now" if new.size != old.size else "")
    before = {shard.path for shard in frozen}
    return [*frozen, *(shard for shard in found if shard.path not in before)]


_WAYS_OUT = "start another run (output=...)"


def gone(what: str) -> UserError:
    """Return the error for an input that a run began with and that is not found any more."""
    return UserError(
        f"{what}: was an input when this run began and is not among them now; "
        f"bring it back (and keep the inputs' common folder, or set root), or {_WAYS_OUT}"
    )


def changed(what: str, how: str = "") -> UserError:
    """Return the error for an input that is not the file any more that a run began with."""
    return UserError(
        f"{what}: has changed since this run began ({how or 'another time of change'}); bring the old file back "
        f"with its time (cp -p, rsync -t), or {_WAYS_OUT}"
    )


def lost(what: str) -> StorageError:
    """Return the error for a shard that is not there while the run reads it: a disk or a store, not the data."""
    return StorageError(
        f"{what}: is not there any more; bring it back, then run the same command again: what is stored stays",
        "not found",
    )


def state(file: File) -> tuple[int, int | str]:
    """Return what tells whether a file is still the same: bytes, and time of change in ns or the store's stamp."""
    if isinstance(file, RemotePath):
        known = file.known()
        return known.size or 0, known.stamp
    about = stat(file)
    return about.st_size, about.st_mtime_ns


def stat(path: Path) -> os.stat_result:
    """Return a file's size and times; UserError when the disk or the permissions refuse."""
    try:
        return path.stat()
    except OSError as error:
        raise UserError(f"{path}: could not be read ({error.strerror}); check its permissions and its disk") from error


def open_file(path: File) -> BinaryIO:
    """Open a file for reading; UserError when it is gone or the permissions refuse, StorageError for a store's."""
    if isinstance(path, RemotePath):
        return path.open()
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: could not be read ({error.strerror}); check its permissions and its disk") from error
