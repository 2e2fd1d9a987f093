"""What executors have in common: the work they do, where its tasks come from, and what becomes of a worker's death."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from captioners.core.errors import InterruptedRunError, NeedsLookError

MOST_DEATHS = 3
"""Workers that may die over one task, or before they have one, before it is left to the next start."""

LOOK_EVERY_S = 1.0
"""How often a worker that has nothing to do asks again."""


class Work(Protocol):
    """What a worker does; a function of a module, so that another process can find it."""

    def __call__(
        self,
        setting: Any,
        tasks: Iterator[Any],
        finished: Callable[[Any], None],
        tell: Callable[[Any], None],
        rank: int = 0,
    ) -> None:
        """Do the tasks, which are handed out as they are pulled; say which are `finished`, `tell` the rest.

        They also end where none is free just now: the work is called again in the same process when some are.

        Raises:
            WorkerOutError: this worker must not go on; others take over.
        """


class Source(Protocol):
    """Where tasks come from, in the process that started the workers."""

    def take(self, holding: Sequence[Any]) -> Any | None:
        """Return a task for a worker that has some already, or None while nothing is free for it."""

    def finished(self, task: Any) -> None:
        """Note that a task is done."""

    def lost(self, task: Any, how: str) -> None:
        """Note that the worker of a task died; it is handed out again, or set aside.

        Raises:
            InterruptedRunError: it has cost enough.
        """

    def returned(self, task: Any) -> None:
        """Note that the worker of a task left it without fault of the task."""

    @property
    def left(self) -> int:
        """How many tasks are not done yet, held ones and those of other processes among them."""


class Executor(Protocol):
    """Runs work in workers."""

    @property
    def here(self) -> bool:
        """Whether this process is the only worker, so that it can use what it has loaded."""

    @property
    def workers(self) -> int:
        """How many workers share the tasks, at most; 0: it does not know."""

    def run(
        self, work: Work, setting: Any, source: Source, tell: Callable[[Any], None], notice: Callable[[str], None]
    ) -> None:
        """Do all tasks of a source; what a worker raises, or `tell` does, stops everything and is raised here.

        Args:
            setting: handed to each worker; for several it is pickled, as are tasks and messages.
            tell: gets, in this process, what workers tell. notice: gets a line about each worker that died or left.

        Raises:
            InterruptedRunError: workers died again and again. NeedsLookError: all of them had to leave.
        """


class Listed:
    """Tasks of a list, in its order; one that costs `MOST_DEATHS` workers stops everything."""

    def __init__(self, tasks: Sequence[Any], done: Callable[[Any], None] = lambda _: None) -> None:
        self._waiting = deque(tasks)
        self._left = len(tasks)
        self._deaths: Counter[int] = Counter()
        self._done = done

    def take(self, holding: Sequence[Any]) -> Any | None:  # noqa: ARG002  # a list does not care
        """Return the next task, or None."""
        return self._waiting.popleft() if self._waiting else None

    def finished(self, task: Any) -> None:
        """Count it."""
        self._left -= 1
        self._done(task)

    def lost(self, task: Any, how: str) -> None:
        """Put it first again, unless it has cost too many."""
        self._deaths[id(task)] += 1
        if self._deaths[id(task)] >= MOST_DEATHS:
            raise too_many_deaths(how)
        self.returned(task)

    def returned(self, task: Any) -> None:
        """Put it first again."""
        self._waiting.appendleft(task)

    @property
    def left(self) -> int:
        """How many are not done."""
        return self._left


def too_many_deaths(how: str) -> InterruptedRunError:
    """Return the error for a task (or a start) that costs one worker after the other."""
    return InterruptedRunError(
        f"{MOST_DEATHS} workers ended over the same task, the last {how}; is memory short? "
        "What is stored stays: run the same command again, with fewer workers"
    )


def all_out(why: str) -> NeedsLookError:
    """Return the error for a run whose every worker had to leave."""
    return NeedsLookError(f"no worker is left: {why}. What is stored stays")


def here(work: Work, setting: Any, source: Source, tell: Callable[[Any], None], rank: int = 0) -> None:
    """Do all tasks of a source in this process."""
    holding: list[Any] = []

    def tasks() -> Iterator[Any]:
        while source.left:
            task = source.take(holding)
            if task is not None:
                holding.append(task)
                yield task
            elif holding:
                return
            else:
                time.sleep(LOOK_EVERY_S)

    def finished(task: Any) -> None:
        holding.remove(task)
        source.finished(task)

    while source.left:
        work(setting, tasks(), finished, tell, rank)
