"""Tasks of another program, such as CLIP-benchmark: it is handed each student's directory, and writes numbers."""

import json
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from captioners.core.errors import CaptionersError, UserError
from captioners.jobs.probe.student import Student
from captioners.jobs.recipes.probe import Command

_SAID = 200
"""Characters of the program's last words that are shown."""


class CommandJudge:
    """Runs a command for each student."""

    def __init__(self, options: Command) -> None:
        self._options = options

    @property
    def headline(self) -> Sequence[str]:
        """The tasks that go into the average."""
        return tuple(self._options.average)

    @property
    def chance(self) -> dict[str, float]:
        """Nothing is known of it."""
        return {}

    def __call__(self, student: Student) -> dict[str, float]:
        """Return what the program wrote.

        Raises CaptionersError if it fails or writes nothing, UserError if there is no such program.
        """
        with tempfile.TemporaryDirectory(prefix="captioners-probe-") as folder:
            where, out = Path(folder, "student"), Path(folder, "out")
            student.save(where)
            out.mkdir()
            words = [
                word.replace("{student}", str(where)).replace("{output}", str(out))
                for word in shlex.split(self._options.run)
            ]
            try:
                done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  # the recipe's
            except OSError as error:
                raise UserError(
                    f"evaluation {self._options.name}: {words[0]} cannot be run ({error.strerror})"
                ) from None
            found = {task: value for file in sorted(out.rglob("*.json")) for task, value in _numbers(file).items()}
        if done.returncode or not found:
            said = " ".join(done.stderr.split())[-_SAID:]
            how = f"ended with {done.returncode}" if done.returncode else "wrote no numbers into {output}"
            raise CaptionersError(f"evaluation {self._options.name}: {words[0]} {how} ({said})")
        return {f"{self._options.name}/{task}": value for task, value in found.items()}


def _numbers(file: Path) -> dict[str, float]:
    """Return a file's numbers: `{task: number}`, or as CLIP-benchmark has them, `{"dataset": .., "metrics": {..}}`."""
    said: Any = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(said, dict):
        return {}
    before = f"{str(said['dataset']).replace('/', '_')}/" if "dataset" in said else ""
    metrics = said.get("metrics", said)
    numbers = {name: value for name, value in metrics.items() if type(value) in (int, float)}
    return {f"{before}{name}": float(value) for name, value in numbers.items() if isfinite(value)}
