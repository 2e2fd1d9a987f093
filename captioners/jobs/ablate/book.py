"""How long the parts of an ablation took, over all starts, and what happened to it, in one file of its folder."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from captioners.core.errors import UserError
from captioners.jobs.ablate.folder import write


class Book:
    """The file `book.json` of an ablation's folder.

    Args:
        folder: the ablation's. say: is told when a part begins, and how long it took.

    Raises:
        UserError: the file is damaged.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._file, self._say = folder / "book.json", say
        self._seconds: dict[str, float] = {}
        if self._file.is_file():
            try:
                found = json.loads(self._file.read_text(encoding="utf-8"))["seconds"]
                self._seconds = {str(part): float(seconds) for part, seconds in found.items()}
            except (ValueError, KeyError, TypeError, AttributeError):
                raise UserError(f"{self._file}: damaged; remove it, and the seconds of earlier starts go") from None

    def seconds(self, part: str) -> float | None:
        """Return how long a part took, over all starts; None where it never began."""
        return self._seconds.get(part)

    def all(self) -> Iterator[tuple[str, float]]:
        """Yield every part with its seconds."""
        yield from self._seconds.items()

    @contextmanager
    def part(self, name: str, said: str = "") -> Iterator[None]:
        """Say that a part begins; add the time that it takes to that of earlier starts, also if it is stopped."""
        self._say(said or name)
        began = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            self._seconds[name] = self._seconds.get(name, 0.0) + took
            self._write()
        self._say(f"  {took:,.0f} s")

    def _write(self) -> None:
        write(self._file, json.dumps({"seconds": self._seconds}, indent=1) + "\n")
