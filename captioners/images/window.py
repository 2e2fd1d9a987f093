"""How many bytes of pictures may be in flight between who reads them, who decodes them and who takes them."""

import threading

from captioners.images.fit import Fit

FIRST_RATIO = 12.0
"""Decoded bytes a compressed one, expected until the first pictures have told."""


class AbandonedError(Exception):
    """The pool or the iterator was closed: nobody waits for the result any more."""


class Window:
    """The bytes of what was pulled and not yet given out: compressed ones, and decoded ones as expected or as they are.

    Processes wait here, before their pixels are taken over, until there is room; whom the caller waits for, never.
    """

    def __init__(self, max_bytes: int, fit: Fit | None) -> None:
        self._max_bytes = max_bytes
        self._fitted = fit.height * fit.width * 3 if fit else None
        self._changed = threading.Condition()
        self._held: dict[int, int] = {}  # of each picture in flight, in order
        self._compressed: dict[int, int] = {}
        self._total = 0
        self._numbers = 0
        self._seen = [0.0, 0.0]  # compressed and decoded bytes of pictures so far
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nobody waits any more."""
        return self._closed

    def has_room(self) -> bool:
        """Say whether another picture may be pulled; one always may."""
        with self._changed:
            return self._total < self._max_bytes or not self._held

    def reserve(self, compressed: int) -> int:
        """Enter a picture of so many compressed bytes; return its number."""
        with self._changed:
            self._numbers += 1
            ratio = self._seen[1] / self._seen[0] if self._seen[0] else FIRST_RATIO
            decoded = int(compressed * ratio) if self._fitted is None else self._fitted
            self._compressed[self._numbers] = compressed
            self._set(self._numbers, compressed + decoded)
            return self._numbers

    def admit(self, number: int, decoded: int) -> None:
        """Wait until so many decoded bytes may come in; AbandonedError if the window closes."""
        with self._changed:
            if self._closed:
                raise AbandonedError
            wanted = self._compressed[number] + decoded
            while number != next(iter(self._held)) and self._total - self._held[number] + wanted > self._max_bytes:
                self._changed.wait()
                if self._closed:
                    raise AbandonedError
            self._seen = [self._seen[0] + self._compressed[number], self._seen[1] + decoded]
            self._set(number, wanted)

    def release(self, number: int) -> None:
        """Take a picture out: it is the caller's now."""
        with self._changed:
            self._total -= self._held.pop(number)
            del self._compressed[number]
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait or come in any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _set(self, number: int, size: int) -> None:
        self._total += size - self._held.get(number, 0)
        self._held[number] = size
        self._changed.notify_all()
