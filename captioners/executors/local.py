"""Run tasks on this machine: in this process, or in several that it starts, watches and stops.

A worker that dies is replaced and its tasks are given out again. Workers are programs of their own (multiprocessing
would run the user's main module again) and end when their parent does, for then their line to it is cut.
"""

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from captioners.core.errors import CaptionersError, InterruptedRunError, UserError
from captioners.core.stopping import stoppable

MOST_DEATHS = 3
"""Workers that may die over one task before it is left to the next start."""

_PATIENCE_S = 10.0
"""How long a worker may take to stop before it is killed."""
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from captioners.executors.local import worker; worker(int(sys.argv[1]), int(sys.argv[2]))"
)


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
        """Do the tasks, which are handed out as they are pulled; say which are `finished`, `tell` the rest."""


def run_tasks(
    work: Work,
    setting: Any,
    tasks: Sequence[Any],
    *,
    workers: int = 1,
    tell: Callable[[Any], None] = lambda _: None,
    finished: Callable[[Any], None] = lambda _: None,
    notice: Callable[[str], None] = lambda _: None,
) -> None:
    """Do all tasks, in this process for one worker; what `work` raises stops everything and is raised here.

    Args:
        setting: handed to each worker; for several it is pickled, as are tasks and messages.
        tell: gets, in this process, what workers tell; what it raises stops everything, too.
        finished: gets each task that is done. notice: gets a line about each worker that died.

    Raises:
        InterruptedRunError: workers died over a task again and again.
    """
    if not tasks:
        return
    if workers == 1:
        work(setting, iter(tasks), finished, tell)
        return
    parent = _Parent(work, setting, tasks, min(workers, len(tasks)))
    try:
        parent.run(tell, finished, notice)
    finally:
        parent.stop()


@dataclass
class _Worker:
    """A worker process as its parent sees it."""

    rank: int
    process: "subprocess.Popen[bytes]"
    line: "Connection[Any, Any]"
    holds: list[int] = field(default_factory=list)
    """Numbers of its tasks."""


class _Parent:
    def __init__(self, work: Work, setting: Any, tasks: Sequence[Any], workers: int) -> None:
        self._work, self._setting, self._tasks = work, setting, tasks
        self._waiting = deque(range(len(tasks)))
        self._left = set(self._waiting)
        self._deaths: Counter[int] = Counter()
        self._workers: dict[int, _Worker] = {}
        self._ranks = workers

    def run(self, tell: Callable[[Any], None], finished: Callable[[Any], None], notice: Callable[[str], None]) -> None:
        while self._left:
            for rank in range(self._ranks):
                if rank not in self._workers and self._waiting:
                    self._workers[rank] = self._start(rank)
            lines = {worker.line: worker for worker in self._workers.values()}
            for line in wait(list(lines)):
                worker = lines[line]  # type: ignore[index]
                try:
                    what, content = worker.line.recv()
                except (EOFError, OSError):
                    self._died(worker, notice)
                    continue
                if what == "next":
                    self._give(worker)
                elif what == "finished":
                    worker.holds.remove(content)
                    self._left.discard(content)
                    finished(self._tasks[content])
                elif what == "tell":
                    tell(content)
                elif what == "error":
                    raise content

    def stop(self) -> None:
        """End all workers: ask, wait, then kill."""
        for worker in self._workers.values():
            with suppress(OSError):
                worker.process.terminate()
        latest = time.monotonic() + _PATIENCE_S
        for worker in self._workers.values():
            try:
                worker.process.wait(max(0.0, latest - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.line.close()
        self._workers.clear()

    def _start(self, rank: int) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603  # this very Python
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), str(rank), *sys.path],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"OMP_NUM_THREADS": str(threads_of(self._ranks))},
                process_group=0,  # the terminal's Ctrl-C comes to the parent, which then tells its workers
            )
        line: Connection[Any, Any] = Connection(ours.detach())
        worker = _Worker(rank, process, line)
        with suppress(OSError):  # it may be dead already, which is found out when it is listened to
            line.send((self._work, self._setting))
        return worker

    def _give(self, worker: _Worker) -> None:
        number = self._waiting.popleft() if self._waiting else None
        if number is not None:
            worker.holds.append(number)
        with suppress(OSError):
            worker.line.send(None if number is None else (number, self._tasks[number]))

    def _died(self, worker: _Worker, notice: Callable[[str], None]) -> None:
        """Take a worker's tasks back; without any it has only ended."""
        del self._workers[worker.rank]
        worker.line.close()
        code = worker.process.wait()
        if code == 0 and not worker.holds:
            return
        how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with exit code {code}"
        self._deaths.update(worker.holds or [-1])
        if max(self._deaths.values()) >= MOST_DEATHS:
            raise InterruptedRunError(
                f"{MOST_DEATHS} workers ended over the same task, the last {how}; is memory short? "
                "What is stored stays: run the same command again, with fewer workers"
            )
        notice(f"worker {worker.rank} ended {how}; its {len(worker.holds)} tasks are given out again")
        self._waiting.extendleft(reversed(worker.holds))


def threads_of(workers: int) -> int:
    """Return the threads of each worker: this process's share of the machine, shared out."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, (int(asked) if asked.isdecimal() else cores) // workers)


def worker(descriptor: int, rank: int) -> None:
    """Work as a worker process: get the work and its tasks over an open socket, tell what happens."""
    line: Connection[Any, Any] = Connection(descriptor)
    numbers: dict[int, int] = {}

    def tasks() -> Iterator[Any]:
        while True:
            line.send(("next", None))
            given = line.recv()
            if given is None:
                return
            number, task = given
            numbers[id(task)] = number
            held.append(task)
            yield task

    held: list[Any] = []  # so that no id is used twice
    try:
        with stoppable():
            work, setting = line.recv()
            work(
                setting,
                tasks(),
                lambda task: line.send(("finished", numbers[id(task)])),
                lambda message: line.send(("tell", message)),
                rank,
            )
    except (KeyboardInterrupt, EOFError, BrokenPipeError, ConnectionResetError):
        sys.exit(InterruptedRunError.exit_code)  # told to stop, or the parent is gone
    except Exception as error:
        with suppress(OSError):
            line.send(("error", portable(error)))


def portable(error: Exception) -> Exception:
    """Return an error that another process can raise: itself where it survives pickling, else its words; told where."""
    known = isinstance(error, CaptionersError)
    carried: Exception = UserError(str(error)) if known else RuntimeError(f"{type(error).__name__}: {error}")
    with suppress(Exception):
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own, made in this line
        if type(copy) is type(error) and str(copy) == str(error):
            carried = copy
    carried.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    return carried
