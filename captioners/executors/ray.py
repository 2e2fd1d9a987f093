"""Run tasks in actors of a Ray cluster: they join as it has room for them and may go at any time, spot nodes included.

The driver hands out the tasks and knows who has which. A desk, a small actor beside it, carries questions and answers
between it and the workers. When a worker's process or node dies, Ray says so, its tasks are given out again, and
another actor is asked for.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from captioners.core.errors import InterruptedRunError, WorkerOutError
from captioners.executors.local import portable
from captioners.executors.ray_cluster import beside_driver, connect, package
from captioners.executors.tasks import (
    LOOK_EVERY_S,
    MOST_DEATHS,
    Source,
    Work,
    all_out,
    too_many_deaths,
)


class _Desk:
    """Carries messages: workers ask and tell, the driver hears them and answers. One event loop, so nothing is torn."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[tuple[str, str, Any]] = asyncio.Queue()
        self._answers: dict[str, asyncio.Queue[Any]] = {}

    async def ask(self, worker: str) -> Any:
        """Ask for a task, and wait for the answer."""
        answers = self._answers.setdefault(worker, asyncio.Queue())
        await self._heard.put((worker, "next", None))
        return await answers.get()

    async def say(self, worker: str, what: str, content: Any) -> None:
        """Say that a task is finished, or tell something."""
        await self._heard.put((worker, what, content))

    async def answer(self, worker: str, given: Any) -> None:
        """Answer a worker's question."""
        await self._answers.setdefault(worker, asyncio.Queue()).put(given)

    async def hear(self, patience_s: float) -> list[tuple[str, str, Any]]:
        """Return what was said since; with nothing said, wait so long for something."""
        found = []
        if patience_s and self._heard.empty():
            with suppress(TimeoutError):
                found.append(await asyncio.wait_for(self._heard.get(), patience_s))
        while not self._heard.empty():
            found.append(self._heard.get_nowait())
        return found


class _Actor:
    """A worker."""

    def __init__(self, path: list[str], threads: int) -> None:
        sys.path[:0] = [folder for folder in path if folder not in sys.path]
        os.environ["OMP_NUM_THREADS"] = str(threads)

    def ready(self) -> bool:
        """Say that the process stands."""
        return True

    def work(self, desk: Any, name: str, rank: int, work: Work, setting: Any) -> tuple[str, Any]:
        """Do tasks until there are no more; return how it ended."""
        import ray

        held: list[tuple[int, Any]] = []
        over = False

        def tasks() -> Iterator[Any]:
            nonlocal over
            while True:
                given = ray.get(desk.ask.remote(name))
                if isinstance(given, str):
                    over = given == "over"
                    return
                held.append(given)
                yield given[1]

        def finished(task: Any) -> None:
            at = next(at for at, (_, one) in enumerate(held) if one is task)
            ray.get(desk.say.remote(name, "finished", held.pop(at)[0]))

        try:
            while not over:
                work(setting, tasks(), finished, lambda message: ray.get(desk.say.remote(name, "tell", message)), rank)
        except WorkerOutError as error:
            return "out", str(error)
        except KeyboardInterrupt:
            return "error", InterruptedRunError("a worker was told to stop; run the same command again")
        except Exception as error:
            return "error", portable(error)
        return "over", None


@dataclass
class _Worker:
    """An actor as the driver sees it."""

    name: str
    rank: int
    actor: Any
    doing: Any
    """What Ray promises: that it stands, then how its work ended; None in between."""
    holds: dict[int, Any] = field(default_factory=dict)
    asks: bool = False


@dataclass(frozen=True)
class Ray:
    """A pool of actors; see `RayOptions`."""

    address: str
    least: int
    most: int
    cpus: float
    gpus: float
    wait_s: float

    @property
    def here(self) -> bool:
        """Whether this process is the only worker: it is none."""
        return False

    @property
    def workers(self) -> int:
        """How many actors share the tasks, at most."""
        return self.most

    def run(
        self, work: Work, setting: Any, source: Source, tell: Callable[[Any], None], notice: Callable[[str], None]
    ) -> None:
        """Do all tasks of a source; see `Executor`."""
        if not source.left:
            return
        ray = package()
        mine = not ray.is_initialized()
        if mine:
            connect(ray, self.address, notice)
        driver = _Driver(ray, self, work, setting, source)
        try:
            driver.run(tell, notice)
        finally:
            driver.stop()
            if mine:
                ray.shutdown()


class _Driver:
    def __init__(self, ray: Any, pool: Ray, work: Work, setting: Any, source: Source) -> None:
        self._ray, self._pool, self._work, self._setting, self._source = ray, pool, work, setting, source
        # With the driver, so that it is lost with the driver alone: any other node may be taken away.
        self._desk = ray.remote(_Desk).options(num_cpus=0, scheduling_strategy=beside_driver(ray)).remote()
        self._actors = ray.remote(_Actor).options(
            num_cpus=pool.cpus, num_gpus=pool.gpus, max_restarts=0, max_concurrency=1
        )
        self._names, self._numbers = count(), count()
        self._workers: dict[str, _Worker] = {}
        self._early_deaths = 0
        self._most = min(pool.most, max(source.left, pool.least))
        self._began = False

    def run(self, tell: Callable[[Any], None], notice: Callable[[str], None]) -> None:
        latest = time.monotonic() + self._pool.wait_s
        hearing = self._desk.hear.remote(LOOK_EVERY_S)
        while self._source.left:
            while len(self._workers) < self._most:
                self._ask_for_one()
            doing = {worker.doing: worker for worker in self._workers.values() if worker.doing is not None}
            done, _ = self._ray.wait([hearing, *doing], num_returns=1)
            self._hear(hearing, tell)
            for ended in done:
                if ended in doing:  # what it said comes before how it ended
                    self._hear(self._desk.hear.remote(0), tell)
                    self._ended(doing[ended], notice)
            hearing = self._desk.hear.remote(LOOK_EVERY_S)
            self._begin()
            if not self._began and time.monotonic() > latest:
                raise InterruptedRunError(
                    f"executor ray: the cluster had no room for {self._pool.least} actors of {self._pool.cpus:g} CPUs "
                    f"and {self._pool.gpus:g} GPUs within {self._pool.wait_s:.0f} s; run the same command again"
                )
            for worker in self._workers.values():
                if worker.asks:
                    self._give(worker)

    def stop(self) -> None:
        """End all actors."""
        for worker in self._workers.values():
            self._ray.kill(worker.actor)
        self._ray.kill(self._desk)

    def _ask_for_one(self) -> None:
        """Ask the cluster for an actor; it comes when there is room, or never."""
        used = {worker.rank for worker in self._workers.values()}
        rank = next(rank for rank in count() if rank not in used)
        actor = self._actors.remote(sys.path, max(1, int(self._pool.cpus)))
        name = f"{rank}-{next(self._names)}"
        self._workers[name] = _Worker(name, rank, actor, actor.ready.remote())

    def _begin(self) -> None:
        """Set those to work that stand, once there are enough of them."""
        standing = [worker for worker in self._workers.values() if worker.doing is None]
        if not self._began and len(standing) < self._pool.least:
            return
        self._began = True
        for worker in standing:
            worker.doing = worker.actor.work.remote(self._desk, worker.name, worker.rank, self._work, self._setting)

    def _hear(self, hearing: Any, tell: Callable[[Any], None]) -> None:
        """Take in what the desk promised to say."""
        try:
            heard: list[tuple[str, str, Any]] = self._ray.get(hearing)
        except self._ray.exceptions.RayError as error:
            raise InterruptedRunError(
                f"executor ray: the actor between this process and its workers is lost ({type(error).__name__}); what "
                "is stored stays: run the same command again"
            ) from error
        for name, what, content in heard:
            worker = self._workers.get(name)
            if worker is None:
                continue  # it is taken for dead, and its tasks are another's
            if what == "next":
                worker.asks = True
            elif what == "finished":
                self._source.finished(worker.holds.pop(content))
            else:
                tell(content)

    def _give(self, worker: _Worker) -> None:
        """Answer a worker that asks, as `Local` does."""
        task = self._source.take(list(worker.holds.values()))
        worker.asks = task is None and not worker.holds and self._source.left > 0
        if worker.asks:
            return
        number = next(self._numbers)
        if task is not None:
            worker.holds[number] = task
        given = ("pause" if self._source.left else "over") if task is None else (number, task)
        self._desk.answer.remote(worker.name, given)

    def _ended(self, worker: _Worker, notice: Callable[[str], None]) -> None:
        """Take in what became of an actor's promise."""
        try:
            ended = self._ray.get(worker.doing)
        except self._ray.exceptions.RayError as error:
            self._died(worker, f"with its actor ({type(error).__name__})", notice)
            return
        if ended is True:
            worker.doing = None
            return
        del self._workers[worker.name]
        how, content = ended
        if how == "error":
            raise content
        if how == "out":
            self._most -= 1
            if not self._most:
                raise all_out(content)
            for task in reversed(worker.holds.values()):
                self._source.returned(task)
            notice(f"goes on without worker {worker.rank}: {content}")

    def _died(self, worker: _Worker, how: str, notice: Callable[[str], None]) -> None:
        del self._workers[worker.name]
        self._early_deaths = 0 if worker.holds else self._early_deaths + 1
        if self._early_deaths >= MOST_DEATHS * max(self._pool.most, 1):
            raise too_many_deaths(how)
        for task in reversed(worker.holds.values()):
            self._source.lost(task, how)
        notice(f"worker {worker.rank} ended {how}; its {len(worker.holds)} tasks are given out again")
