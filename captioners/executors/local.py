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
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection, wait
from typing import Any

from captioners.core.errors import CaptionersError, InterruptedRunError, UserError, WorkerOutError
from captioners.core.secrets import redacted
from captioners.core.stopping import stoppable
from captioners.executors.tasks import (
    LOOK_EVERY_S,
    MOST_DEATHS,
    Listed,
    Source,
    Work,
    all_out,
    here,
    too_many_deaths,
)

_PATIENCE_S = 10.0
"""How long a worker may take to stop before it is killed."""
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from captioners.executors.local import worker; worker(int(sys.argv[1]), int(sys.argv[2]))"
)


@dataclass(frozen=True)
class Local:
    """Workers on this machine; a single one is this process."""

    workers: int = 1

    @property
    def here(self) -> bool:
        """Whether this process is the only worker."""
        return self.workers == 1

    def run(
        self, work: Work, setting: Any, source: Source, tell: Callable[[Any], None], notice: Callable[[str], None]
    ) -> None:
        """Do all tasks of a source; see `Executor`."""
        if min(self.workers, source.left) <= 1:
            here(work, setting, source, tell)
            return
        parent = _Parent(work, setting, source, min(self.workers, source.left))
        try:
            parent.run(tell, notice)
        finally:
            parent.stop()


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
    """Do the tasks of a list with `Local` workers; `finished` gets each that is done."""
    Local(workers).run(work, setting, Listed(tasks, finished), tell, notice)


@dataclass
class _Worker:
    """A worker process as its parent sees it."""

    rank: int
    process: "subprocess.Popen[bytes]"
    line: "Connection[Any, Any]"
    holds: dict[int, Any] = field(default_factory=dict)
    """Its tasks, by the numbers that this process gave them."""
    asks: bool = False
    """Whether it waits for a task."""


class _Parent:
    def __init__(self, work: Work, setting: Any, source: Source, workers: int) -> None:
        self._work, self._setting, self._source = work, setting, source
        self._numbers = count()
        self._early_deaths = 0
        self._workers: dict[int, _Worker] = {}
        self._ranks = list(range(workers))
        self._threads = threads_of(workers)

    def run(self, tell: Callable[[Any], None], notice: Callable[[str], None]) -> None:
        while self._source.left:
            for rank in self._ranks:
                if rank not in self._workers:
                    self._workers[rank] = self._start(rank)
            lines = {worker.line: worker for worker in self._workers.values()}
            asking = [worker for worker in lines.values() if worker.asks]
            for line in wait(list(lines), LOOK_EVERY_S if asking else None):
                worker = lines[line]  # type: ignore[index]
                try:
                    what, content = worker.line.recv()
                except (EOFError, OSError):
                    self._died(worker, notice)
                    continue
                if what == "next":
                    asking.append(worker)
                elif what == "finished":
                    self._source.finished(worker.holds.pop(content))
                elif what == "tell":
                    tell(content)
                elif what == "out":
                    self._left(worker, content, notice)
                elif what == "error":
                    raise content
            for worker in asking:
                if self._workers.get(worker.rank) is worker:  # it may have died since it asked
                    self._give(worker)

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
                env=os.environ | {"OMP_NUM_THREADS": str(self._threads)},
                process_group=0,  # the terminal's Ctrl-C comes to the parent, which then tells its workers
            )
        line: Connection[Any, Any] = Connection(ours.detach())
        worker = _Worker(rank, process, line)
        with suppress(OSError):  # it may be dead already, which is found out when it is listened to
            line.send((self._work, self._setting))
        return worker

    def _give(self, worker: _Worker) -> None:
        """Answer a worker that asks: with a task, or that there is none; one that has nothing to do may wait for it."""
        task = self._source.take(list(worker.holds.values()))
        worker.asks = task is None and not worker.holds and self._source.left > 0
        if worker.asks:
            return
        number = next(self._numbers)
        if task is not None:
            worker.holds[number] = task
        with suppress(OSError):
            worker.line.send(("pause" if self._source.left else "over") if task is None else (number, task))

    def _died(self, worker: _Worker, notice: Callable[[str], None]) -> None:
        """Take a worker's tasks back; without any it has only ended."""
        del self._workers[worker.rank]
        worker.line.close()
        code = worker.process.wait()
        if code == 0 and not worker.holds:
            return
        how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with exit code {code}"
        self._early_deaths = 0 if worker.holds else self._early_deaths + 1
        if self._early_deaths >= MOST_DEATHS:
            raise too_many_deaths(how)
        for task in reversed(worker.holds.values()):
            self._source.lost(task, how)
        notice(f"worker {worker.rank} ended {how}; its {len(worker.holds)} tasks are given out again")

    def _left(self, worker: _Worker, why: str, notice: Callable[[str], None]) -> None:
        """Go on without a worker that must not go on."""
        del self._workers[worker.rank]
        worker.line.close()
        worker.process.wait()
        self._ranks.remove(worker.rank)
        if not self._ranks:
            raise all_out(why)
        for task in reversed(worker.holds.values()):
            self._source.returned(task)
        notice(f"goes on without worker {worker.rank}: {why}")


def threads_of(workers: int) -> int:
    """Return the threads of each worker: this process's share of the machine, shared out."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, (int(asked) if asked.isdecimal() else cores) // workers)


def worker(descriptor: int, rank: int) -> None:
    """Work as a worker process: get the work and its tasks over an open socket, tell what happens."""
    line: Connection[Any, Any] = Connection(descriptor)
    held: list[tuple[int, Any]] = []
    over = False

    def tasks() -> Iterator[Any]:
        nonlocal over
        while True:
            line.send(("next", None))
            given = line.recv()
            if isinstance(given, str):
                over = given == "over"
                return
            held.append(given)
            yield given[1]

    def finished(task: Any) -> None:
        at = next(at for at, (_, one) in enumerate(held) if one is task)
        line.send(("finished", held.pop(at)[0]))

    try:
        with stoppable():
            work, setting = line.recv()
            while not over:
                work(setting, tasks(), finished, lambda message: line.send(("tell", message)), rank)
    except (KeyboardInterrupt, EOFError, BrokenPipeError, ConnectionResetError):
        sys.exit(InterruptedRunError.exit_code)  # told to stop, or the parent is gone
    except WorkerOutError as error:
        with suppress(OSError):
            line.send(("out", str(error)))
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
    carried.add_note("in a worker process:\n" + redacted("".join(traceback.format_exception(error))))
    return carried
