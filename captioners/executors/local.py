"""Run tasks on this machine: in this process, or in several that it starts anew, watches and stops."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol


class Work(Protocol):
    """What a worker does; a function of a module, so that a new process can find it."""

    def __call__(
        self,
        setting: Any,
        tasks: Iterator[Any],
        finished: Callable[[Any], None],
        tell: Callable[[Any], None],
        rank: int = 0,
    ) -> None:
        """Do the tasks, which are handed out as they are pulled; say which are `finished`, `tell` the rest."""


def run_tasks(
    work: Work,
    setting: Any,
    tasks: Sequence[Any],
    *,
    workers: int = 1,
    tell: Callable[[Any], None] = lambda _: None,
    finished: Callable[[Any], None] = lambda _: None,
) -> None:
    """Do all tasks; `tell` gets in this process what the workers tell, `finished` each task that is done."""
    if not tasks:
        return
    if workers == 1:
        work(setting, iter(tasks), finished, tell)
        return
    raise NotImplementedError
