"""Results on disk: `results.jsonl`, a line for each number, of students trained here or elsewhere.

    {"arm": "short x 5", "seed": 0, "task": "average", "value": 0.51, "distillation": 1.0, "run": "...", ...}

A student's lines are written together, when it is judged. One whose lines are not all there is trained again.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from captioners.core.errors import NotFoundError, UserError
from captioners.metrics.contrasts import Result

FILE = "results.jsonl"
USED = "used.jsonl"
"""Of an ablation: those of them that its page rests on, in the same form."""


@dataclass(frozen=True)
class Trained:
    """One student that was judged."""

    arm: str
    seed: int
    distillation: float
    run: str
    """A digest of all that its numbers depend on besides seed and weight of distillation."""
    weights: str
    """A digest of its weights: equal weights are equal, bit for bit."""
    seconds: float
    values: Mapping[str, float]
    """Task -> number."""

    @property
    def results(self) -> list[Result]:
        """Its numbers, one by one."""
        return [
            Result(arm=self.arm, seed=self.seed, task=task, value=value, distillation=self.distillation)
            for task, value in self.values.items()
        ]

    def lines(self) -> str:
        """Return them as they are written."""
        about = {"run": self.run, "tasks": len(self.values), "weights": self.weights, "seconds": round(self.seconds, 2)}
        said = [{**vars(result), **about} for result in self.results]
        return "".join(json.dumps(one) + "\n" for one in said)


def append(folder: Path, one: Trained) -> None:
    """Write a student's lines, to the disk itself."""
    file = folder / FILE
    with file.open("a+b") as opened:
        if opened.seek(0, os.SEEK_END):
            opened.seek(-1, os.SEEK_END)
            if opened.read(1) != b"\n":  # a line that a kill cut; it is passed over
                opened.write(b"\n")
        opened.write(one.lines().encode())
        opened.flush()
        os.fsync(opened.fileno())


def read(folder: Path, file: str = FILE) -> list[Trained]:
    """Return the students whose lines are all there; of one that is there twice, the later."""
    found: dict[tuple[str, int, float, str], dict[str, Any]] = {}
    for line in _lines(folder / file):
        try:
            said = json.loads(line)
            key = said["arm"], said["seed"], said["distillation"], said["run"]
            one = found.setdefault(key, {"values": {}})
            if isfinite(value := float(said["value"])):
                one["values"][said["task"]] = value
            one |= {name: said[name] for name in ("tasks", "weights", "seconds")}
        except (ValueError, KeyError, TypeError):
            continue
    return [
        Trained(*key, one["weights"], one["seconds"], one["values"])
        for key, one in found.items()
        if len(one["values"]) == one.get("tasks")
    ]


def read_external(file: Path) -> list[Result]:
    """Return the numbers of a file that another trainer wrote; `distillation` may be left out, and is then 0.

    Raises:
        NotFoundError: there is no such file. UserError: a line is not as it should be, or says what another says.
    """
    if not file.is_file():
        raise NotFoundError(f"results {file}: no such file; train the exported arms first, then name it again")
    found = []
    for number, line in enumerate(_lines(file), 1):
        try:
            said = json.loads(line)
            arm, task, seed, value = said["arm"], said["task"], said["seed"], float(said["value"])
            weight = float(said.get("distillation", 0.0))
            if not (isinstance(arm, str) and isinstance(task, str) and type(seed) is int and isfinite(value)):
                raise ValueError("another kind of value")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            wanted = '{"arm": text, "seed": whole number, "task": text, "value": number, "distillation": number}'
            raise UserError(f"results {file}, line {number}: is not {wanted} ({error})") from None
        found.append(Result(arm=arm, seed=seed, task=task, value=value, distillation=weight))
    twice = [key for key, count in Counter(map(_key, found)).items() if count > 1]
    if twice:
        arm, seed, task, weight = twice[0]
        raise UserError(f"results {file}: arm {arm}, seed {seed}, {task}, distillation {weight:g} stands there twice")
    return found


def trained_elsewhere(results: Sequence[Result]) -> list[Trained]:
    """Return numbers of another trainer student by student."""
    found: dict[tuple[str, int, float], dict[str, float]] = {}
    for one in results:
        found.setdefault((one.arm, one.seed, one.distillation), {})[one.task] = one.value
    return [Trained(*key, run="", weights="", seconds=0.0, values=values) for key, values in found.items()]


def _key(result: Result) -> tuple[str, int, str, float]:
    return result.arm, result.seed, result.task, result.distillation


def _lines(file: Path) -> Sequence[str]:
    if not file.is_file():
        return []
    return [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
