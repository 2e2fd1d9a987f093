"""Tasks of another program, such as CLIP-benchmark: it is handed each student's directory, and writes numbers."""

import json
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from captioners.core.errors import CaptionersError, UserError, near
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

        Raises:
            CaptionersError: it fails, writes nothing, or what is no number. UserError: there is no such program, or no
                task that the average is to be of.
        """
        with tempfile.TemporaryDirectory(prefix="captioners-probe-") as folder:
            where, out = Path(folder, "student"), Path(folder, "out")
            student.save(where)
            out.mkdir()
            try:
                said_words = shlex.split(self._options.run)
            except ValueError as error:
                raise UserError(
                    f"evaluation {self._options.name}: run is no command ({error}): {self._options.run}"
                ) from None
            words = [word.replace("{student}", str(where)).replace("{output}", str(out)) for word in said_words]
            try:
                done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  # the recipe's
            except OSError as error:
                raise UserError(
                    f"evaluation {self._options.name}: {words[0]} cannot be run ({error.strerror})"
                ) from None
            files = sorted(out.rglob("*.json")) if not done.returncode else []
            found = {task: value for file in files for task, value in self._numbers(file, out).items()}
        if done.returncode or not found:
            said = " ".join(done.stderr.split())[-_SAID:]
            how = f"ended with {done.returncode}" if done.returncode else "wrote no numbers into {output}"
            raise CaptionersError(f"evaluation {self._options.name}: {words[0]} {how} ({said})")
        named = {f"{self._options.name}/{task}": value for task, value in found.items()}
        for task in self.headline:
            if task not in named:
                raise UserError(
                    f"evaluation {self._options.name}: average: no task is named {task!r}.{near(task, named)} "
                    f"There are {', '.join(named)}"
                )
        return named

    def _numbers(self, file: Path, out: Path) -> dict[str, float]:
        """Return a file's numbers: `{task: number}`, or as CLIP-benchmark has them, `{"dataset": .., "metrics": ..}`.

        Raises CaptionersError for what is no JSON, or a number that is not finite.
        """
        where = f"evaluation {self._options.name}: {file.relative_to(out)}"
        try:
            said: Any = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CaptionersError(f"{where}: is no JSON ({error})") from None
        metrics = said.get("metrics", said) if isinstance(said, dict) else None
        if not isinstance(metrics, dict):
            return {}
        before = f"{str(said['dataset']).replace('/', '_')}/" if "dataset" in said else ""
        numbers = {f"{before}{name}": float(one) for name, one in metrics.items() if type(one) in (int, float)}
        for name, value in numbers.items():
            if not isfinite(value):
                raise CaptionersError(f"{where}: {name} is {value}, which is no result")
        return numbers
