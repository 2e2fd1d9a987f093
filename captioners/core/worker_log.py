"""A log file for each worker under the run: what it began, what it met, how it ended; and the last errors of all.

Lines are JSON: time, level, text. On a local disk each is written at once, in an object store the whole file anew.
"""

import json
import os
import platform
import time
import traceback
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from captioners.core.errors import CaptionersError
from captioners.core.secrets import redacted
from captioners.core.storage import Place

FOLDER = "logs"
_LINES = 1000
_WRITE_EVERY_S = 60.0

Level = Literal["note", "error"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a worker's log."""

    worker: str
    time: str
    """UTC, ISO 8601."""
    level: Level
    text: str


class WorkerLog:
    """The log of this process; what cannot be written is dropped, for a log must never stop the work."""

    def __init__(self, place: Place, rank: int) -> None:
        self.worker = f"{platform.node()}-{os.getpid()}-{rank}"
        self.name = f"{FOLDER}/{datetime.now(UTC):%Y%m%dT%H%M%S}-{self.worker}.jsonl"
        self._place = place
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._written = 0.0

    @property
    def path(self) -> Path | None:
        """The file, where it is on a local disk."""
        return None if self._place.local is None else Path(self._place.at(self.name))

    def note(self, text: str) -> None:
        """Say what is normal."""
        self._say("note", text)

    def error(self, text: str) -> None:
        """Say what is not."""
        self._say("error", text)

    def ended(self, error: BaseException, done: str) -> None:
        """Say what ended the work; `done`: how much of it there was, for one that was told to stop."""
        if isinstance(error, CaptionersError):
            self.error(str(error))
        elif isinstance(error, Exception):
            self.error("".join(traceback.format_exception(error)))
        else:
            self.note(f"told to stop after {done}")

    def _say(self, level: Level, text: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({"time": now, "level": level, "text": redacted(text)}, ensure_ascii=False) + "\n"
        with suppress(Exception):
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line)
                return
            self._lines.append(line)
            if level == "error" or time.monotonic() - self._written > _WRITE_EVERY_S:
                self._place.write(self.name, "".join(self._lines).encode())
                self._written = time.monotonic()


def last_errors(place: Place, most: int = 10, files: int = 200) -> list[Line]:
    """Return the last errors of the workers whose logs are the newest, the newest error first."""
    found = []
    for name in list(place.names(FOLDER))[-files:]:
        worker = name.rpartition("/")[2].removesuffix(".jsonl").partition("-")[2]
        for text in place.read(name).decode(errors="replace").splitlines():
            with suppress(ValueError, TypeError, KeyError):  # a line that a kill cut
                said = json.loads(text)
                if said["level"] == "error":
                    found.append(Line(worker=worker, time=said["time"], level="error", text=said["text"]))
    return sorted(found, key=lambda line: line.time, reverse=True)[:most]
