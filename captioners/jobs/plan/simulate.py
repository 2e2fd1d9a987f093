"""Simulate a run of many workers with failures and stragglers, event by event: makespan, lost work, idle time.

The model. A task is a shard of a pass: so many units of equal seconds. Workers take tasks in order, one at a time, and
commit unit after unit. A worker fails after an exponential time of its own; what it had done of its unit is lost, what
it committed stays. Its task can be taken again once its lease has run out, before any fresh one, and begins with its
first unit that is not committed; the worker is back after a while. A straggler takes so many times as long for all its
work. A shard stays with its worker to its end, so a straggler may be the last to finish. Not in it: failures of many
workers at once, a store or network that gets slower the more read from it, and starting the run.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import floor, inf, log1p

from captioners.core.seeds import uniforms

_AT_ONCE = 16
"""Failures of a worker that are drawn together."""
_NEARLY = 1e-9


@dataclass(frozen=True)
class Task:
    """Units of one shard that one worker does, one after the other."""

    units: int
    seconds: float
    """Of a unit, for a worker of the usual speed."""


@dataclass
class Outcome:
    """What became of a simulated run; all times in seconds."""

    makespan: float = 0.0
    """Until the last unit was committed."""
    work: float = 0.0
    """Of all workers, in units that were committed."""
    lost: float = 0.0
    """Of all workers, in units that had to be done again."""
    failures: int = 0
    workers: int = 0

    @property
    def waste(self) -> float:
        """The share of the workers' time until the end in which nothing came to stay."""
        whole = self.makespan * self.workers
        return 1 - self.work / whole if whole else 0.0


@dataclass(order=True)
class _Again:
    """A task that lost its worker."""

    when: float
    """It can be taken."""
    number: int
    task: Task = field(compare=False)


def simulate(
    tasks: Iterable[Task],
    slowness: Sequence[float],
    fails: Callable[[int], Iterator[float]],
    *,
    back_after: float,
    lease: float,
) -> Outcome:
    """Run the tasks on workers, each `slowness` times as slow as usual.

    Args:
        tasks: in their order.
        slowness: of each worker; 1 is the usual speed.
        fails: worker -> the times between its failures, each counted from when it was last back.
        back_after: seconds after which a failed worker is back.
        lease: seconds after which its task can be taken.
    """
    fresh, again, out = deque(tasks), list[_Again](), Outcome(workers=len(slowness))
    times = [fails(worker) for worker in range(len(slowness))]
    next_failure = [next(own, inf) for own in times]
    free = [(0.0, worker) for worker in range(len(slowness))]
    heapify(free)
    while free and (fresh or again):
        now, worker = heappop(free)
        if next_failure[worker] < now:  # while it had nothing to do
            now = max(now, next_failure[worker] + back_after)
            next_failure[worker] = now + next(times[worker], inf)
            heappush(free, (now, worker))
            continue
        if again and again[0].when <= now:
            task = heappop(again).task
        elif fresh:
            task = fresh.popleft()
        else:  # its worker may yet fail again, but nobody else can have it before
            heappush(free, (again[0].when, worker))
            continue
        each = task.seconds * slowness[worker]
        end = now + task.units * each
        if end <= next_failure[worker]:
            out.work += task.units * each
            out.makespan = max(out.makespan, end)
            heappush(free, (end, worker))
            continue
        failed = next_failure[worker]
        done = min(task.units - 1, floor((failed - now) / each + _NEARLY))
        out.work += done * each
        out.lost += max(0.0, failed - now - done * each)
        out.failures += 1
        heappush(again, _Again(failed + lease, out.failures, Task(task.units - done, task.seconds)))
        next_failure[worker] = failed + back_after + next(times[worker], inf)
        heappush(free, (failed + back_after, worker))
    return out


def exponential(mean: float, seed: int, worker: int) -> Iterator[float]:
    """Yield exponential times of a mean, for ever, of seed and worker alone; none for a mean of infinity."""
    number = 0
    while mean < inf:
        for drawn in uniforms(_AT_ONCE, "failures", seed, worker, number):
            yield -mean * log1p(-float(drawn))
        number += 1


def speeds(workers: int, share: float, factor: float) -> list[float]:
    """Return the slowness of workers of which a share are stragglers, spread evenly.

    >>> speeds(4, 0.25, 3.0)
    [3.0, 1.0, 1.0, 1.0]
    """
    slow = round(workers * share)
    return [factor if number * slow % workers < slow else 1.0 for number in range(workers)]
