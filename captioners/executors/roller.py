"""Rolls the ledger's small files into segments while a run goes on, beside the work, and at its end."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from captioners.core.ledger import SEGMENT_ENTRIES, Ledger
from captioners.core.storage import Place
from captioners.executors.work import Stored


class Roller:
    """A context manager; looks once as many units were stored as make a segment, and when it ends in order."""

    def __init__(self, place: Place, entries: int = SEGMENT_ENTRIES) -> None:
        self._place, self._entries = place, entries
        self._stored = 0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Roller":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._thread is not None:
            self._thread.join()
        if kind is None:
            self._roll()

    def heard(self, tell: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return `tell`, counting the stored units among the messages."""

        def told(message: Any) -> None:
            if isinstance(message, Stored):
                self._stored += 1
                if self._stored >= self._entries and (self._thread is None or not self._thread.is_alive()):
                    self._stored = 0
                    self._thread = threading.Thread(target=self._roll, daemon=True, name="roller")
                    self._thread.start()
            tell(message)

        return told

    def _roll(self) -> None:
        # Small files do as well: what fails now, the next look does.
        with suppress(Exception):
            Ledger(self._place).compact(self._entries)
