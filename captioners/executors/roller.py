"""Rolls the ledger's small files into segments while a run goes on, beside the work, and at its end."""

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from captioners.core.ledger import SEGMENT_ENTRIES, Ledger
from captioners.core.storage import Place
from captioners.executors.work import Stored

_LOOK_EVERY_S = 300.0


class Roller:
    """A context manager; looks when as many units were heard of as make a segment, now and then, and at its end.

    Now and then, because many processes that store little each make many small files together.
    """

    def __init__(self, place: Place, entries: int = SEGMENT_ENTRIES) -> None:
        self._ledger, self._entries = Ledger(place), entries
        self._stored = 0
        apart = uuid.uuid4().int / 2**128  # processes that began together are not to look together
        self._next = time.monotonic() + (0.5 + apart) * _LOOK_EVERY_S
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
            self._stored += isinstance(message, Stored)
            due = self._stored >= self._entries or time.monotonic() >= self._next
            if due and (self._thread is None or not self._thread.is_alive()):
                self._stored, self._next = 0, time.monotonic() + _LOOK_EVERY_S
                self._thread = threading.Thread(target=self._roll, daemon=True, name="roller")
                self._thread.start()
            tell(message)

        return told

    def _roll(self) -> None:
        # Small files do as well: what fails now, the next look does.
        with suppress(Exception):
            self._ledger.compact(self._entries)
