"""A worker's signs of life: without one for long, or far too long over a unit, the process ends itself.

A hung worker (a driver, a network mount, an engine) would hold its shards for ever. Ended, it counts as a death over
them, and they are tried again elsewhere.
"""

import faulthandler
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from statistics import median
from typing import TypeVar

from captioners.core.errors import InterruptedRunError

T = TypeVar("T")

MEDIANS = 10
"""How many times the median a unit may take."""

_KNOWN = 5
"""Units whose times make a median."""
_LAST = 200


class Heartbeat:
    """Watches over one worker process; a context manager.

    Args:
        patience_s: seconds without any progress, and the least that a unit may take.
        say: told why the process ends. end: ends it.
    """

    def __init__(self, patience_s: float, say: Callable[[str], None], end: Callable[[], None] | None = None) -> None:
        self._patience_s, self._say, self._end = patience_s, say, end or _end
        self._last = self._unit_began = time.monotonic()
        self._resting = 1
        self._seconds: deque[float] = deque(maxlen=_LAST)
        self._part: object = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="heartbeat")

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def beat(self) -> None:
        """Show a sign of life."""
        self._last = time.monotonic()

    def stored(self, part: object) -> None:
        """Note that a member's captions of a part are stored; the members of a pass end a part together."""
        self.beat()
        if part is not self._part:
            self._seconds.append(self._last - self._unit_began)
            self._part, self._unit_began = part, self._last

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Expect signs of life inside."""
        self._last = self._unit_began = time.monotonic()
        self._resting -= 1
        try:
            yield
        finally:
            self._resting += 1

    def resting(self, tasks: Iterator[T]) -> Iterator[T]:
        """Yield the tasks, expecting no sign of life while one is waited for."""
        while True:
            self._resting += 1
            try:
                task = next(tasks, None)
            finally:
                self._resting -= 1
                self.beat()
                self._unit_began = self._last  # nor is waiting any of a unit's time
            if task is None:
                return
            yield task

    @property
    def unit_limit_s(self) -> float | None:
        """Seconds that a unit may take; None while too few are known."""
        if len(self._seconds) < _KNOWN:
            return None
        return max(self._patience_s, MEDIANS * median(self._seconds))

    def trouble(self) -> str:
        """Say what is wrong, or nothing."""
        now, limit = time.monotonic(), self.unit_limit_s
        if self._resting > 0:
            return ""
        if now - self._last > self._patience_s:
            return f"no sign of life for {now - self._last:.0f} s (patience_s {self._patience_s:g})"
        if limit is not None and now - self._unit_began > limit:
            return f"a unit took more than {limit:.0f} s, {MEDIANS} times the median or patience_s"
        return ""

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._patience_s / 5)):
            # Python cannot look while native code holds its lock; this timer can, and its traceback says where it hangs
            with suppress(Exception):  # there may be no stderr
                faulthandler.dump_traceback_later(self._patience_s + 60, exit=True, file=sys.__stderr__ or sys.stderr)
            trouble = self.trouble()
            if trouble:
                self._say(f"this worker ended itself: {trouble}\n{_where()}")
                self._end()
                return


def _where() -> str:
    """Return where the main thread is, in a few lines."""
    import traceback

    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return "".join(traceback.format_stack(frame)[-8:]) if frame is not None else ""


def _end() -> None:
    os._exit(InterruptedRunError.exit_code)
