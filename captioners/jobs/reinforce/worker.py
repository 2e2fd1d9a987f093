"""What a worker of `reinforce` does: load the teachers, write shard after shard, tell of it."""

import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from captioners.core import faults
from captioners.core.entry import Counts, Entry
from captioners.core.layers import Layer
from captioners.core.progress import Clock
from captioners.core.run_dir import RunDir
from captioners.core.shard_files import ATTEMPTS, commit_shard
from captioners.core.stopping import STAYS, interruption
from captioners.data.raw_samples import raw_samples
from captioners.data.source import Shard
from captioners.data.tar import TarWriter
from captioners.executors.budget import Budget
from captioners.executors.heartbeat import Heartbeat
from captioners.executors.local import threads_of
from captioners.executors.work import Stored, Tally
from captioners.executors.work import Task as TaskOf
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce.loading import environment_of, load
from captioners.jobs.reinforce.station import Station
from captioners.jobs.reinforce.stream import Reinforced, ShardStream
from captioners.reinforcement.teachers import Ensemble

_TELL_EVERY_S = 0.5
_EXAMPLES = 5
RENEWED = "renewed"
"""In an entry's flags: rows that were embedded already, of captions that are other ones now."""

Task = TaskOf[Shard]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all workers of a run need to know; it travels to other processes."""

    recipe: ReinforceRecipe
    run: str
    layer: Layer
    batch: int
    station: Station = field(default_factory=Station)
    """Of this process."""


def work(
    setting: Setting,
    tasks: Iterator[Task],
    finished: Callable[[Task], None],
    tell: Callable[[Any], None],
    rank: int = 0,
) -> None:
    """Reinforce the shards of the tasks.

    Raises:
        UserError: a shard is gone. InterruptedRunError: the machine failed, not
            the data, or the budget is spent: the same command continues.
    """
    recipe, station = setting.recipe, setting.station
    log = station.begin(setting.run, rank, f"captioners {version('captioners')}; {recipe.device}")
    try:
        ensemble = station.opened(partial(load, recipe, setting.batch, rank))
        with (
            Heartbeat(recipe.patience_s, log.error) as heart,
            ThreadPoolExecutor(recipe.decode_threads or threads_of(1)) as pool,
        ):
            worker = Worker(setting, ensemble, pool, tell, heart)
            for task in heart.resting(tasks):
                worker.refuse_beyond_budget()
                faults.point(f"begin {task.shard.path}")
                with heart.at_work():
                    worker.shard(task.shard)
                heart.stored(task.shard.path)
                station.shards += 1
                finished(task)
    except BaseException as error:
        station.end(error)
        if isinstance(error, Exception) and (ended := interruption(error, STAYS)) is not None:
            raise ended from error
        raise


class Worker:
    """Writes shards with open teachers."""

    def __init__(
        self,
        setting: Setting,
        ensemble: Ensemble,
        pool: ThreadPoolExecutor,
        tell: Callable[[Any], None],
        heart: Heartbeat,
    ) -> None:
        self._setting, self._tell = setting, tell
        self._run = RunDir(setting.run)
        self._source = setting.recipe.source.open()
        self._budget = Budget(setting.recipe, self._run.ledger)
        self._environment = environment_of(ensemble)
        self._clock = Clock("writing")
        self._stream = ShardStream(ensemble, setting.recipe, pool, self._clock, heart.beat)
        self._told, self._images, self._captions = time.monotonic(), 0, 0

    def refuse_beyond_budget(self) -> None:
        """Raise InterruptedRunError if no shard may begin any more."""
        self._budget.check()

    def shard(self, shard: Shard) -> None:
        """Write a shard whole and enter it."""
        self._clock.lap()
        seconds: dict[str, float] = {}
        with _drafts(self._run.place.local) as folder:
            draft = folder / f".{uuid.uuid4().hex}.tar"
            quarantined: list[dict[str, Any]] = []
            embedded = renewed = 0
            with self._source.open_shard(shard) as file, TarWriter(draft) as tar:
                for one in self._stream.run(raw_samples(file, shard.path)):
                    if isinstance(one, Reinforced):
                        tar.add(one.key, one.members)
                        embedded, renewed = embedded + 1, renewed + one.renewed
                    else:
                        quarantined.append(one)
                    if time.monotonic() - self._told > _TELL_EVERY_S:
                        self._tell_progress(seconds)
            self._tell_progress(seconds)
            entry = self._entry(shard, embedded, renewed, quarantined, seconds)
            stored = commit_shard(self._run, entry, draft if embedded else None, quarantined)
            draft.unlink(missing_ok=True)
        if stored is not None:
            self._budget.stored(stored)
            self._tell(Stored(stored, tuple(quarantined[:_EXAMPLES])))

    def _entry(
        self,
        shard: Shard,
        embedded: int,
        renewed: int,
        quarantined: list[dict[str, Any]],
        seconds: dict[str, float],
    ) -> Entry:
        lost = sum(bool(record["key"]) for record in quarantined)  # without a key, it is the shard's own fault
        counts = Counts(read=embedded + lost, captioned=embedded, quarantined=lost, rows=embedded)
        log = self._setting.station.log
        return Entry(
            layer=self._setting.layer.name,
            fingerprint=self._setting.layer.fingerprint,
            shard=shard.path,
            part=0,
            start=0,
            stop=embedded + lost,
            last=True,
            counts=counts,
            file="",
            digest="",
            reasons=dict(sorted(Counter(str(record["reason"]) for record in quarantined).items())),
            flags={RENEWED: renewed} if renewed else {},
            seconds={name: round(spent, 3) for name, spent in seconds.items()},
            environment=self._environment,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            kept=embedded,
            worker=log.worker if log is not None else "",
        )

    def _tell_progress(self, seconds: dict[str, float]) -> None:
        lap, stream = self._clock.lap(), self._stream
        for name, spent in lap.items():
            seconds[name] = seconds.get(name, 0.0) + spent
        self._tell(Tally(stream.images - self._images, stream.captions - self._captions, lap))
        self._images, self._captions, self._told = stream.images, stream.captions, time.monotonic()


@contextmanager
def _drafts(run: Path | None) -> Iterator[Path]:
    """Yield the folder for drafts: the run's own if it lies here, where a finished one is renamed and not copied."""
    if run is None:
        with tempfile.TemporaryDirectory(prefix="captioners-") as elsewhere:
            yield Path(elsewhere)
        return
    folder = run / ATTEMPTS
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
