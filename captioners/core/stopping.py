"""Stop on Ctrl-C, SIGTERM and SIGUSR1 at once, but never in the middle of a commit.

SIGUSR1 is what Slurm can send some time before a job's end. Inside `stoppable` these signals raise KeyboardInterrupt in
the main thread; inside `shielded` they wait for its end.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from captioners.core.errors import CaptionersError, InterruptedRunError
from captioners.core.failures import is_infrastructure, words

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
STAYS = "what is stored stays: run the same command again"
_depth = 0
_pending = False


def _stop(_number: int, _frame: FrameType | None) -> None:
    global _pending  # noqa: PLW0603  # a signal belongs to the process, and so does its state
    if _depth:
        _pending = True
        return
    raise KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn these signals into KeyboardInterrupt; in other threads than the main one, change nothing."""
    global _pending  # noqa: PLW0603
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _stop) for number in _SIGNALS}
    try:
        yield
    finally:
        _pending = False
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def resumable(stopped: Callable[[], str]) -> Iterator[None]:
    """Turn a stop, and failing infrastructure, into an InterruptedRunError; `stopped` says how far it came."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError(stopped()) from None
    except Exception as error:
        if (ended := interruption(error, stopped())) is not None:
            raise ended from error
        raise


def interruption(error: Exception, stays: str) -> InterruptedRunError | None:
    """Return how a run ends by an error of the infrastructure; None for any other. `stays`: what comes of the work."""
    if isinstance(error, CaptionersError) or (reason := is_infrastructure(error)) is None:
        return None
    said = "out of disk; free some space" if reason == "no space" else f"the machine failed, {reason}"
    return InterruptedRunError(f"{said} ({words(error)}); {stays}")


@contextmanager
def shielded() -> Iterator[None]:
    """Let what is inside run to its end; a signal that came meanwhile then raises KeyboardInterrupt."""
    global _depth, _pending  # noqa: PLW0603
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _pending and not _depth:
            _pending = False
            raise KeyboardInterrupt
