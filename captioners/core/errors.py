"""Errors for people: one line that says what was asked, what was found and what to do, and the exit code it ends with.

CaptionersError            3  internal error
  UserError                1  a mistake of the caller: a path, a recipe, a name, weights that do not fit
    RecipeError            1  all mistakes of a recipe at once, each with its key and line
    NotFoundError          1  no such captioner, recipe, file; carries near names
    ImageError             1  bytes that are not a readable picture (a run quarantines it instead)
  NeedsLookError           2  finished, but something needs a look
    WorkerOutError         2  one worker must not go on, such as one whose GPU computes otherwise; the others do
  InterruptedRunError     75  stopped, resumable: run the same command again
    EngineLostError       75  an engine outside of this process died, hangs or refuses everyone
    StorageError          75  a disk, an object store or the way to it failed, not the data
    OtherProcessError      *  another process of the run stopped, and says why; this one ends with its code, silently
"""

import errno
from collections.abc import Iterable
from difflib import get_close_matches


class CaptionersError(Exception):
    """Base of every error raised on purpose; `exit_code` is what the command line ends with."""

    exit_code = 3


class UserError(CaptionersError):
    """A mistake that the caller can mend; the command line prints its one line and no traceback."""

    exit_code = 1


class RecipeError(UserError):
    """A recipe that cannot be used; the message lists every mistake, one a line, with dotted key and line number."""


class NotFoundError(UserError):
    """Something asked for by name does not exist."""


class ImageError(UserError):
    """Bytes that are not a readable picture; `reason` is a short machine-readable word for quarantine records."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class NeedsLookError(CaptionersError):
    """The job finished, but a ceiling, an alarm or a failed unit needs a look."""

    exit_code = 2


class WorkerOutError(NeedsLookError):
    """One worker must not go on; an executor that has others goes on with them."""


class InterruptedRunError(CaptionersError):
    """The job stopped and the same command continues it (EX_TEMPFAIL)."""

    exit_code = 75


class EngineLostError(InterruptedRunError):
    """An engine outside of this process died, hangs or refuses everyone: its unit stays open (design promise 3)."""


class StorageError(InterruptedRunError):
    """Storage, or the way to it, failed for longer than it was tried again; `infrastructure` says in a word how."""

    def __init__(self, message: str, infrastructure: str) -> None:
        super().__init__(message)
        self.infrastructure = infrastructure

    def __reduce__(self) -> tuple[type["StorageError"], tuple[str, str]]:
        """Survive the way from a worker process."""
        return type(self), (str(self), self.infrastructure)


class OtherProcessError(InterruptedRunError):
    """Another process of the run stopped and says why; this one ends with its code, and the command line is silent."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def disk_full(error: BaseException | None) -> OSError | None:
    """Return what says that the disk is full, if that is what an error comes from."""
    # Libraries wrap it: a failed write of weights is a RuntimeError whose cause is the full disk.
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return error
        error = error.__cause__ or error.__context__
    return None


def exit_code_of(error: BaseException) -> int:
    """Return the exit code that the command line ends with for an error."""
    if isinstance(error, CaptionersError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return InterruptedRunError.exit_code
    return UserError.exit_code if disk_full(error) else CaptionersError.exit_code


def near(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return " Did you mean 'a', 'b'?" for the known names nearest to `name`, or "" when none is near."""
    matches = get_close_matches(name, list(known), n=count, cutoff=0.5)
    return f" Did you mean {', '.join(repr(m) for m in matches)}?" if matches else ""
