"""Which shards the workers of this process get: those that no other process of the run has, and none that kills them.

A shard whose worker died is tried again with no other beside it, so that it is known what kills; after three deaths
without a unit stored in between it is set aside, and the run goes on.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from typing import Generic, TypeVar

from captioners.core import sums
from captioners.core.leases import Lease, Leases
from captioners.core.ledger import slug
from captioners.core.run_dir import RunDir
from captioners.core.set_aside import FOLDER, MOST_DEATHS, Failed, failed_units, set_aside
from captioners.executors.work import Shard, Task

_LOOK_AGAIN_S = 2.0
_HELD_S = 60.0
"""Seconds of work that a worker may hold by the pace so far, so that small shards are shared, too."""
_HELD = 2
"""Shards that it may hold in any case: the next is read while the last one ends."""
_HELD_SMALL, _HELD_SAMPLES = 50, 1000
"""Shards and samples up to which it may hold its share of what is left: where it may not, its stream runs dry."""
_IN_A_ROW = 5
"""Shards in a row that others were found to have done, after which the whole ledger is asked at once."""
_PATIENCE = 10.0
"""It may take a tenth of the time: it is asked again after so many times what it took."""
_SAMPLE_BYTES = 50_000
"""What a sample of a shard is taken for whose count is not known."""


S = TypeVar("S", bound=Shard)


class Claims(Generic[S]):
    """The tasks of one start, for an executor (`executors.tasks.Source`).

    Args:
        passes: the names of the layers of each pass. leases: of this process.
        workers: that the tasks are for; 0: nobody knows.
        done: told of each task that is done, here or by another process. say: told what is set aside.
    """

    def __init__(
        self,
        run: RunDir,
        tasks: Sequence[Task[S]],
        passes: Sequence[Sequence[str]],
        leases: Leases,
        *,
        workers: int = 0,
        done: Callable[[Task[S]], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._run, self._leases, self._done, self._say = run, leases, done, say
        self._workers = workers
        self._members = [tuple(members) for members in passes]
        self._waiting = deque(tasks)
        self._suspects: deque[Task[S]] = deque()
        self._elsewhere: deque[tuple[float, Task[S]]] = deque()
        """Tasks that another process has, and when to look again."""
        self._whole: sums.Whole | None = None
        """What was done when the whole ledger was last asked."""
        self._passed, self._again = 0, 0.0
        """Shards in a row that others had done, and from when on the ledger may be asked again (monotonic)."""
        self._left = len(tasks)
        self._began, self._finished = time.monotonic(), 0
        self._mine: set[str] = set()
        """Shards at work here."""
        aside = {failed.name for failed in failed_units(run)}
        for task in [task for task in tasks if self._name(task) in aside] if aside else []:
            self._waiting.remove(task)
            self._left -= 1

    def take(self, holding: Sequence[Task[S]]) -> Task[S] | None:
        """Return a task that is this process's now, or None while others have all that are left."""
        if any(task.alone for task in holding) or not self._may_hold_more(holding):
            return None
        while self._elsewhere and self._elsewhere[0][0] <= time.monotonic():
            self._waiting.append(self._elsewhere.popleft()[1])
        while self._waiting:
            task = self._claimed(self._waiting.popleft())
            if task is not None and (not task.alone or not holding):
                return task
            if task is not None:
                self._let_go(task)
                self._suspects.append(task)
        while self._suspects and not holding:
            task = self._claimed(self._suspects.popleft())
            if task is not None:
                return task
        return None

    def finished(self, task: Task[S]) -> None:
        """Give its lease back."""
        self._finished += 1
        self._let_go(task, done=True)
        self._count(task)

    def lost(self, task: Task[S], how: str) -> None:
        """Count a death over it."""
        self._mine.discard(task.shard.path)
        lease = self._leases.lost(slug(task.shard.path), self._stored(task)[0])
        if lease.deaths >= MOST_DEATHS:
            self._set_aside(task, lease, how)
        else:
            self._suspects.append(replace(task, alone=True))

    def returned(self, task: Task[S]) -> None:
        """Let another worker have it."""
        self._let_go(task)
        self._waiting.appendleft(task)

    @property
    def left(self) -> int:
        """How many tasks are neither done nor set aside."""
        return self._left

    def _may_hold_more(self, holding: Sequence[Task[S]]) -> bool:
        elapsed = time.monotonic() - self._began
        by_pace = int(_HELD_S * self._finished / elapsed) if elapsed > 0 else 0
        if len(holding) < max(_HELD, by_pace):
            return True
        # Half of its share: another process may join at any time, and is to find some.
        share = min(self._left // (2 * self._workers), _HELD_SMALL) if self._workers else 0
        return len(holding) < share and sum(_samples(task) for task in holding) < _HELD_SAMPLES

    def _claimed(self, task: Task[S]) -> Task[S] | None:
        """Return the task with its lease taken; None if it is done, another's, or set aside."""
        if self._known_whole(task):
            self._count(task)
            return None
        mark, whole = self._stored(task)
        self._passed = self._passed + 1 if whole else 0
        if whole:
            self._count(task)
            self._look_at_all()
            return None
        # A lease is of the whole shard: others may load other members together, as their memory allows.
        lease = None if task.shard.path in self._mine else self._leases.take(slug(task.shard.path), mark)
        if lease is None:
            self._elsewhere.append((time.monotonic() + _LOOK_AGAIN_S, task))
            return None
        # With the lease in hand: whoever set it aside gave the lease back after saying so.
        if self._run.place.exists(f"{FOLDER}/{self._name(task)}.json"):
            self._leases.release(slug(task.shard.path), done=True)
            self._left -= 1
            return None
        if lease.deaths >= MOST_DEATHS:
            self._set_aside(task, lease, "with its whole process")
            return None
        self._mine.add(task.shard.path)
        return replace(task, alone=lease.deaths > 0)

    def _known_whole(self, task: Task[S]) -> bool:
        whole, shard = self._whole, task.shard.path
        return whole is not None and all((member, shard) in whole for member in self._members[task.number])

    def _look_at_all(self) -> None:
        """Ask the whole ledger what is done, where asking of each unit would take long: others are far ahead."""
        begun = time.monotonic()
        if self._passed < _IN_A_ROW or begun < self._again:
            return
        self._whole, self._passed = sums.whole_shards(self._run.ledger.table()), 0
        ended = time.monotonic()
        self._again = ended + _PATIENCE * (ended - begun)

    def _stored(self, task: Task[S]) -> tuple[int, bool]:
        """Return how many units of a task are stored, and whether that is all of them."""
        units, whole = 0, True
        for member in self._members[task.number]:
            for part in count():
                entry = self._run.ledger.find(member, task.shard.path, part)
                if entry is None:
                    whole = False
                    break
                units += 1
                if entry.last:
                    break
        return units, whole

    def _name(self, task: Task[S]) -> str:
        """Return a task's name among what is set aside: of its shard, and of the members that it is for."""
        members = sha256("\0".join(sorted(self._members[task.number])).encode()).hexdigest()[:8]
        return f"{slug(task.shard.path)}.{members}"

    def _let_go(self, task: Task[S], done: bool = False) -> None:
        self._mine.discard(task.shard.path)
        self._leases.release(slug(task.shard.path), done)

    def _count(self, task: Task[S]) -> None:
        self._left -= 1
        self._done(task)

    def _set_aside(self, task: Task[S], lease: Lease, how: str) -> None:
        name, shard = self._name(task), task.shard.path
        when = datetime.now(UTC).isoformat(timespec="seconds")
        members = self._members[task.number]
        set_aside(self._run, Failed(name=name, shard=shard, members=members, deaths=lease.deaths, how=how, when=when))
        self._let_go(task, done=True)
        self._leases.clear(slug(shard))
        self._left -= 1
        self._say(
            f"{shard} is set aside: {lease.deaths} workers ended over it, the last {how}; the run goes on without it "
            "(captioners retry --failed tries it again)"
        )


def _samples(task: Task[S]) -> int:
    shard: Shard = task.shard
    return shard.count if shard.count is not None else max(1, shard.size // _SAMPLE_BYTES)
