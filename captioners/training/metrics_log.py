"""The record of a training run: one JSON line each few steps, exact across restarts, and trackers by name."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from captioners.training.plan import Record


class MetricsLog:
    """`metrics.jsonl`, opened to go on after `steps` steps; lines of later steps, which will be redone, are dropped."""

    def __init__(self, path: str | Path, steps: int) -> None:
        self.path = Path(path)
        kept = [line for line in self._lines() if _step(line) <= steps]
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        draft.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        draft.replace(self.path)
        self._file: TextIO = self.path.open("a", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        """Add a line; it is on its way to the disk when this returns."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []


class Reporter:
    """Where a run's records and events go: to files, and to who watches; nowhere on processes that do not write."""

    def __init__(
        self, folder: Path, steps: int, show: Callable[[Record], None], say: Callable[[str], None], *, writes: bool
    ) -> None:
        self._logs = [MetricsLog(folder / name, steps) for name in ("metrics.jsonl", "events.jsonl")] if writes else []
        self._show, self._say = show, say

    def record(self, record: Record) -> None:
        """Report a step."""
        if self._logs:
            self._logs[0].write(vars(record))
            self._show(record)

    def event(self, step: int, text: str, **values: Any) -> None:
        """Report what happened after `step` steps."""
        if self._logs:
            self._logs[1].write({"step": step, "event": text, **values})
            self._say(text)

    def close(self) -> None:
        """Close the files."""
        for log in self._logs:
            log.close()


def _step(line: str) -> float:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line that was cut when the process died
