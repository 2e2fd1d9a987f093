"""Which of a run's processes this is, by what `torchrun` and `accelerate launch` tell each; and who is alone in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from captioners.core.errors import CaptionersError, OtherProcessError, UserError

LOCK = ".lock"
"""The file of a folder that one process at a time holds."""


def is_main() -> bool:
    """Whether this process speaks for the run: the only one, or the first of all."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def said_once() -> Iterator[None]:
    """Let an error that every process of a machine meets alike be said by the first of them alone."""
    try:
        yield
    except CaptionersError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        raise OtherProcessError(str(error), error.exit_code) from None


@contextmanager
def alone(directory: Path, refusal: str) -> Iterator[None]:
    """Keep a second process out of a folder; the system lets go of it whatever ends this one.

    Raises UserError with `refusal`, and what to do about it, where another process is there.
    """
    with (directory / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{refusal}; wait for it, or name another output") from None
        yield
