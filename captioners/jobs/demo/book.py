"""What was asked of a demo and how long its steps took, on disk, so that a later start knows both."""

import json
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.report.page import Section

_OF_ALL = ("caption", "measure")
"""Steps that have work again when there are more voices."""


@dataclass(frozen=True)
class Step:
    """How long one step took, in seconds."""

    name: str
    wall: float
    cpu: float
    """Of this process and its children, all cores together."""


class Book:
    """The file `demo.json` of a demo's folder.

    Args:
        out: the folder. asked: what stays as it was, by its name for people. voices: each with its recipe's digest;
            others may come later. total: steps of this start. say: is told when a step begins, and how long it took.

    Raises:
        UserError: the folder holds another demo, or something else.
    """

    def __init__(
        self, out: Path, asked: Mapping[str, Any], voices: Mapping[str, str], total: int, say: Callable[[str], None]
    ) -> None:
        self._file, self._total, self._say = out / "demo.json", total, say
        self._began = 0
        self._kept: dict[str, Any] = {"asked": dict(asked), "voices": dict(voices), "steps": {}}
        if self._file.is_file():
            self._kept = _read(self._file)
            kept = self._kept["asked"], self._kept["voices"]
            changed = [name for name, value in asked.items() if kept[0].get(name) != value]
            changed += [
                f"recipe of {voice}" for voice, digest in voices.items() if kept[1].get(voice, digest) != digest
            ]
            if changed:
                what = ", ".join(changed)
                raise UserError(f"{out}: holds a demo with another {what}; remove it, or name another --output")
            self._add(voices)
        elif out.is_dir() and any(out.iterdir()):
            raise UserError(f"{out}: the folder is not empty and holds no demo; name another --output")
        out.mkdir(parents=True, exist_ok=True)
        self._write()

    def _add(self, voices: Mapping[str, str]) -> None:
        """Keep voices that are new, and count the time that they take in the steps that are about all of them."""
        kept, steps = self._kept["voices"], self._kept["steps"]
        if voices.keys() - kept.keys():
            kept.update(voices)
            for name in _OF_ALL:
                if name in steps:
                    steps[name]["finished"] = False

    @property
    def steps(self) -> list[Step]:
        """Those that were done, in order."""
        return [Step(name, about["wall"], about["cpu"]) for name, about in self._kept["steps"].items()]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say that a step begins, and how long it took; a step that an earlier start finished keeps its time."""
        self._began += 1
        self._say(f"{self._began}/{self._total} {name}")
        about = self._kept["steps"].setdefault(name, {"wall": 0.0, "cpu": 0.0, "finished": False})
        before = about.copy()
        wall, cpu = time.perf_counter(), _cpu_seconds()
        try:
            yield
            about["finished"] = True
        finally:
            if not before["finished"]:
                about["wall"] = before["wall"] + time.perf_counter() - wall
                about["cpu"] = before["cpu"] + _cpu_seconds() - cpu
            self._write()
        if not before["finished"]:
            self._say(f"  {about['wall']:,.0f} s ({about['cpu']:,.0f} s of CPU time)")

    def _write(self) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self._kept, indent=1) + "\n", encoding="utf-8")
        part.replace(self._file)


def times(steps: Sequence[Step]) -> Section:
    """Return the table of the page."""
    return Section(
        title="How long it took",
        text="Seconds of each step on this machine, where it was done. CPU seconds are those of all cores together; "
        "they hardly grow when other programs keep the machine busy.",
        columns=("step", "seconds", "CPU seconds"),
        rows=[(step.name, f"{step.wall:,.0f}", f"{step.cpu:,.0f}") for step in steps],
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {name: dict(found[name]) for name in ("asked", "voices", "steps")}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: damaged; remove the folder, or name another --output") from None


def _cpu_seconds() -> float:
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)
