"""An export while it is written: a hidden folder beside its place, how far it is, and how it goes on after a kill.

For a place in a store the folder is a hidden one here: each file leaves it when it is finished, the manifest last.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.core.remote import is_remote
from captioners.core.storage import Place

LEFT_OUT, MANIFEST = "left_out.jsonl", "manifest.json"
_STATE, _LOCK = ".state.json", ".lock"
_SUMS = ("samples", "captions", "members", "flags", "reasons", "notes")


@dataclass
class State:
    """How far an export is, at a moment when all that was taken lies in finished files."""

    identity: str
    """What is exported, of which units: with another one, an unfinished export is begun anew."""
    units: int = 0
    """Units taken."""
    files: list[dict[str, Any]] = field(default_factory=list)
    """name, rows, size in bytes, sha256."""
    left_size: int = 0
    """Bytes of the list of samples left out."""
    samples: Counter[str] = field(default_factory=Counter)
    captions: Counter[str] = field(default_factory=Counter)
    members: Counter[str] = field(default_factory=Counter)
    """Member -> captions taken."""
    flags: Counter[str] = field(default_factory=Counter)
    """Flag -> captions taken that have it."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Reason -> samples left out."""
    notes: Counter[str] = field(default_factory=Counter)
    """What the form noticed -> how often."""


class Draft:
    """The folder that becomes `where`; use it within `alone()`."""

    def __init__(self, output: str) -> None:
        """Refuse an output that is not free. Raises UserError; nothing is made yet."""
        self._target = Path(output).expanduser().absolute()
        self.where: Path | str = self._target
        self.folder = self._target.with_name(f".{self._target.name}.part")
        if self._target.is_dir() and any(self._target.iterdir()):
            raise UserError(f"{self._target}: the folder is not empty; name a new output, or remove it first")
        if self._target.exists() and not self._target.is_dir():
            raise UserError(f"{self._target}: a file of that name exists; name a new folder")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Make the folder and keep other processes out of it; the system lets go whatever ends this one."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written ({error.strerror}); name another output") from None
        with (self.folder / _LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"{self.where}: another process is exporting to it; wait, or name another") from None
            yield

    def resume(self, identity: str) -> State:
        """Return how far an earlier start of the same export came; what lies behind that is removed."""
        try:
            found: dict[str, Any] = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
            state = State(**found | {name: Counter(found[name]) for name in _SUMS})
            whole = all(self._has(one) for one in state.files)
        except (OSError, ValueError, TypeError, KeyError):
            state, whole = State(identity), False
        if not whole or state.identity != identity:
            for one in state.files:
                self._forget(one["name"])
            state = State(identity)
        kept = {*(one["name"] for one in state.files), _STATE, LEFT_OUT, _LOCK}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.relative_to(self.folder).as_posix() not in kept:
                path.unlink()
        return state

    def _has(self, file: Mapping[str, Any]) -> bool:
        """Whether a finished file is there, whole."""
        return bool((self.folder / file["name"]).stat().st_size == file["size"])

    def _forget(self, name: str) -> None:
        """Remove a finished file of an export that is begun anew; here `resume` does it."""

    def _finish(self, name: str) -> None:
        """Take a file that is finished; here it stays until all are."""

    def keep(self, state: State, finished: Mapping[str, int], left_size: int) -> None:
        """Enter files that are finished, name -> rows: from here a killed export goes on."""
        for name, rows in finished.items():
            path = self.folder / name
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            state.files.append({"name": name, "rows": rows, "size": path.stat().st_size, "sha256": digest})
            self._finish(name)
        state.left_size = left_size
        self.write(_STATE, json.dumps(vars(state)))

    def write(self, name: str, text: str) -> None:
        """Write a small file whole, safely on disk."""
        part = self.folder / f".{name}.part"
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / name)

    def publish(self) -> None:
        """Give the folder its name: from now on it is there."""
        for name in (_STATE, _LOCK):
            (self.folder / name).unlink(missing_ok=True)
        if self._target.exists():
            self._target.rmdir()  # empty, as was made sure of; not every system renames onto it
        self.folder.rename(self._target)


class SentDraft(Draft):
    """An export to a store: files leave a hidden folder here as they are finished, a file at a time in memory."""

    def __init__(self, output: str) -> None:
        """Refuse an output that holds an export. Raises UserError; nothing is made yet."""
        self._place = Place(output)
        self.where = output.rstrip("/")
        self.folder = Path(f".export-{hashlib.sha256(self.where.encode()).hexdigest()[:12]}.part").absolute()
        if self._place.exists(MANIFEST):
            raise UserError(f"{self.where}: an export is there already; name a new output, or remove it first")

    def _has(self, file: Mapping[str, Any]) -> bool:
        return self._place.exists(file["name"])

    def _forget(self, name: str) -> None:
        self._place.remove(name)

    def _finish(self, name: str) -> None:
        self._place.write(name, (self.folder / name).read_bytes())
        (self.folder / name).unlink()

    def publish(self) -> None:
        """Send what is left, the manifest last: with it the export is whole."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        for path in sorted(files, key=lambda path: (path == self.folder / MANIFEST, path)):
            self._finish(path.relative_to(self.folder).as_posix())
        shutil.rmtree(self.folder)


def draft_of(output: str) -> Draft:
    """Return the draft of an export to a folder or an address. Raises UserError for one that is not free."""
    return SentDraft(output) if is_remote(output) else Draft(output)
