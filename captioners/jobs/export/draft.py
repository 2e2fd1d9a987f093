"""An export while it is written: a hidden folder beside its place, how far it is, and how it goes on after a kill."""

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

LEFT_OUT = "left_out.jsonl"
MANIFEST = "manifest.json"
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

    @property
    def text(self) -> str:
        """What `of` reads."""
        return json.dumps(vars(self))

    @classmethod
    def of(cls, text: str) -> "State | None":
        """Return the state that a text tells; None: it tells none."""
        try:
            found: dict[str, Any] = json.loads(text)
            return cls(**found | {name: Counter(found[name]) for name in _SUMS})
        except (ValueError, TypeError, KeyError):
            return None


def finished_file(name: str, path: Path, rows: int) -> dict[str, Any]:
    """Return what the manifest says of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": name, "rows": rows, "size": path.stat().st_size, "sha256": digest}


class Draft:
    """The folder that becomes `target`; use it within `alone()`."""

    def __init__(self, output: str) -> None:
        """Refuse an output that is not free. Raises UserError; nothing is made yet."""
        self.target = Path(output).expanduser().absolute()
        self.folder = self.target.with_name(f".{self.target.name}.part")
        if self.target.is_dir() and any(self.target.iterdir()):
            raise UserError(f"{self.target}: the folder is not empty; name a new output, or remove it first")
        if self.target.exists() and not self.target.is_dir():
            raise UserError(f"{self.target}: a file of that name exists; name a new folder")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Make the folder and keep other processes out of it; the system lets go whatever ends this one."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.target}: cannot be written ({error.strerror}); name another output") from None
        with (self.folder / _LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"{self.target}: another process is exporting to it; wait, or name another") from None
            yield

    def resume(self, identity: str) -> State:
        """Return how far an earlier start of the same export came; what lies behind that is removed."""
        state = self._found()
        if state is None or state.identity != identity:
            state = State(identity)
        kept = {*(one["name"] for one in state.files), _STATE, LEFT_OUT, _LOCK}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.relative_to(self.folder).as_posix() not in kept:
                path.unlink()
        return state

    def keep(self, state: State, finished: Mapping[str, int], left_size: int) -> None:
        """Enter files that are finished, name -> rows: from here a killed export goes on."""
        for name, rows in finished.items():
            state.files.append(finished_file(name, self.folder / name, rows))
        state.left_size = left_size
        self.write(_STATE, state.text)

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
        if self.target.exists():
            self.target.rmdir()  # empty, as was made sure of; not every system renames onto it
        self.folder.rename(self.target)

    def drop(self) -> None:
        """Remove what is written so far."""
        shutil.rmtree(self.folder)

    def _found(self) -> State | None:
        """Return what an earlier start has left, if all its files are there."""
        try:
            state = State.of((self.folder / _STATE).read_text(encoding="utf-8"))
            sizes = [] if state is None else [(self.folder / one["name"]).stat().st_size for one in state.files]
        except (OSError, ValueError):
            return None
        return state if state and sizes == [one["size"] for one in state.files] else None
