"""What a worker of `generate` does: load a pass's captioners, stream shards through it, store units, tell of it."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import chain, groupby
from typing import Any

from captioners.core import faults
from captioners.core.errors import InterruptedRunError, UserError
from captioners.core.layers import Layer
from captioners.core.progress import Clock
from captioners.core.stopping import STAYS, interruption
from captioners.data.source import Shard
from captioners.executors.budget import Budget
from captioners.executors.heartbeat import Heartbeat
from captioners.executors.work import Stored, Tally
from captioners.executors.work import Task as TaskOf
from captioners.images.pool import DecodePool
from captioners.jobs.generate import canary
from captioners.jobs.generate.alarms import PICTURES, blind, pictures_of
from captioners.jobs.generate.loading import budget_of, load
from captioners.jobs.generate.passes import budgets, needs_of, share_towers
from captioners.jobs.generate.provenance import environment_of, facts_of
from captioners.jobs.generate.station import Station
from captioners.jobs.generate.stream import PassStream, Work
from captioners.jobs.generate.units import Part
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.kinds.captioner import Captioner
from captioners.kinds.choices import written

_MB = 10**6
_TELL_EVERY_S = 0.5
_MOST_DECODERS = 8
_EXAMPLES = 5


Task = TaskOf[Shard]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all workers of a run need to know; it travels to other processes."""

    recipe: GenerateRecipe
    run: str
    unit_samples: int
    layers: Mapping[str, Layer]
    passes: Sequence[tuple[int, ...]]
    """Captioners that are loaded together, by their numbers among the recipe's groups."""
    memory: int = 0
    """Bytes that a worker may use for a pass of several captioners."""
    loaded: dict[int, Captioner] = field(default_factory=dict)
    """Number -> captioner, where it is loaded already in this process."""
    station: Station = field(default_factory=Station)
    """Of this process."""


def work(
    setting: Setting,
    tasks: Iterator[Task],
    finished: Callable[[Task], None],
    tell: Callable[[Any], None],
    rank: int = 0,
) -> None:
    """Caption the shards of the tasks, pass by pass.

    Raises:
        InterruptedRunError: the machine failed, not the data, or the budget is spent: the same command continues.
        WorkerOutError: this machine captions otherwise than the run's first worker did.
    """
    recipe, station = setting.recipe, setting.station
    log = station.begin(setting.run, rank, f"captioners {version('captioners')}; {recipe.device}")
    try:
        with Heartbeat(recipe.patience_s, log.error) as heart:
            paced = heart.resting(tasks)
            # A pass ends where the canary is due, which is looked at between two streams.
            for (number, _), same in groupby(paced, key=lambda task: (task.number, station.round(recipe.canary_units))):
                captioners = station.captioners(number, partial(open_captioners, setting, number, rank))
                if station.canary_due(number, recipe.canary_units):
                    for captioner in captioners:
                        canary.look(station.run_dir(setting.run).place, captioner, environment_of(captioner))
                with heart.at_work():
                    passed = Pass(setting, number, captioners, tell, heart)
                    passed.run(same, finished)
                if passed.spent:
                    raise InterruptedRunError(passed.spent)
    except BaseException as error:
        station.end(error)
        if isinstance(error, Exception) and (ended := interruption(error, STAYS)) is not None:
            raise ended from error
        raise


def open_captioners(setting: Setting, number: int, rank: int) -> list[Captioner]:
    """Return a pass's captioners, open, each within its share of the memory; equal image towers are held once."""
    together = setting.passes[number]
    captioners = [loaded_captioner(setting, captioner, rank) for captioner in together]
    if len(captioners) == 1:
        captioners[0].open(budget_of(setting.recipe, captioners[0]))
        return captioners
    share_towers(captioners)
    needs = [need for captioner in captioners if (need := needs_of(captioner)) is not None]
    for captioner, budget in zip(captioners, budgets(needs, setting.memory), strict=True):
        captioner.open(budget)
    return captioners


def loaded_captioner(setting: Setting, number: int, rank: int) -> Captioner:
    """Return the `number`-th captioner of the recipe.

    Raises:
        UserError: it is not any more what its layers were claimed for.
    """
    members = setting.recipe.groups[number]
    captioner = setting.loaded.pop(number, None) or load(members[0], setting.recipe, rank)
    meant = setting.layers[members[0].called].meaning
    if any(meant[key] != value for key, value in captioner.info.meaning.items()):
        raise UserError(
            f"captioner {written(members[0].captioner)} changed while the run was starting; run the command again"
        )
    return captioner


class Pass:
    """One pass in one worker: its captioners are open, in the order of the setting's numbers."""

    def __init__(
        self,
        setting: Setting,
        number: int,
        captioners: Sequence[Captioner],
        tell: Callable[[Any], None],
        heart: Heartbeat | None = None,
    ) -> None:
        self.setting, self.captioners, self.tell, self.heart = setting, captioners, tell, heart
        groups = [setting.recipe.groups[captioner] for captioner in setting.passes[number]]
        self.lanes = list(zip(captioners, groups, strict=True))
        self.number, self.station = number, setting.station
        self.run_dir = self.station.run_dir(setting.run)
        self.facts = {m.called: facts_of(setting.layers[m.called], of) for of, members in self.lanes for m in members}
        self.environments = {m.called: environment_of(of) for of, members in self.lanes for m in members}
        self.budget = Budget(setting.recipe, self.run_dir.ledger)
        self.spent: str | None = None
        """Why the budget ended the pass before its shards did."""
        self.clock = Clock("decoding")
        self.encoded = self._encoded()  # of earlier passes: none of this one's time
        self.seconds: dict[str, float] = {}
        self.total: dict[str, float] = {}
        self.stored: dict[str, float] = {}
        self.images = self.images_told = self.captions = 0
        self.told = time.monotonic()

    def run(self, tasks: Iterator[Task], finished: Callable[[Task], None]) -> None:
        """Caption the shards of all tasks in one stream."""
        recipe = self.setting.recipe
        tasks = self._look(tasks)
        fit, queue = self.captioners[0].fit, recipe.queue_mb * _MB  # of all alike: a pass has one fit
        if len(self.captioners) > 1:
            queue //= 2  # the other half is for pictures that one captioner has taken and others have not
        pool = DecodePool(self._decoders(), queue, recipe.decode_profile, recipe.max_pixels, fit)
        stream = PassStream(
            source=recipe.source.open(),
            pool=pool,
            ledger=self.run_dir.ledger,
            store=self.store,
            recipe=recipe,
            unit_samples=self.setting.unit_samples,
            clock=self.clock,
            enough=self._enough,
        )
        with pool:
            works = (self._begun(task, finished) for task in tasks)
            for _ in stream.run(self.lanes, works):
                self.captions += 1
                if self.heart is not None:
                    self.heart.beat()
                if time.monotonic() - self.told > _TELL_EVERY_S:
                    self.images = stream.images
                    self._tell_progress()
        self.images = stream.images
        self._tell_progress()

    def _look(self, tasks: Iterator[Task]) -> Iterator[Task]:
        """Ask once whether captions change with their pictures, those of a first shard; return the tasks again."""
        recipe, station = self.setting.recipe, self.station
        if self.number in station.judged:
            return tasks
        first = next(tasks, None)
        if first is None:
            return iter(())
        pictures = pictures_of(recipe, first.shard, self.captioners[0].fit)
        if len(pictures) >= PICTURES:
            station.judged.add(self.number)
            for captioner, members in self.lanes:
                for member in members:
                    station.alarms[member.called] = blind(captioner, member, pictures, recipe.seed, first.shard.path)
        return chain([first], tasks)

    def _begun(self, task: Task, finished: Callable[[Task], None]) -> Work:
        faults.point(f"begin {task.shard.path}")
        return Work(task.shard, partial(finished, task))

    def _decoders(self) -> int:
        recipe = self.setting.recipe
        if recipe.decode_workers is not None:
            return recipe.decode_workers
        cores = (os.cpu_count() or 1) // recipe.workers
        return max(1, min(_MOST_DECODERS, cores)) if self.captioners[0].device_type != "cpu" else 1

    def _enough(self) -> bool:
        """Whether no unit may begin any more."""
        self._lap()
        unstored = sum(self.total.values()) - sum(self.stored.values())
        self.spent = self.budget.problem(unstored)
        return self.spent is not None

    def store(self, part: Part, member: Member) -> None:
        """Commit a unit and tell of it."""
        layer = self.setting.layers[member.called]
        entry, rows = part.entry(member, layer.fingerprint)
        self._lap()
        unit = {name: round(spent - self.stored.get(name, 0.0), 3) for name, spent in self.total.items()}
        self.stored = dict(self.total)
        entry = replace(
            entry,
            alarms=[*entry.alarms, *(alarm.record() for alarm in self.station.alarms.pop(member.called, ()))],
            environment=self.environments[member.called],
            kept=sum(row["keep"] for row in rows),
            worker=self.station.worker,
            seconds=unit,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with self.clock.at("writing"):
            stored = self.run_dir.commit(
                entry, rows, self.facts[member.called], part.quarantined, self.setting.recipe.format
            )
        self._tell_progress()
        self.station.stored()
        if self.heart is not None:
            self.heart.stored(part)
        if stored is not None:
            self.budget.stored(stored)
            self.tell(Stored(stored, tuple(part.quarantined[:_EXAMPLES])))

    def _encoded(self) -> float:
        return sum(captioner.encode_seconds for captioner in self.captioners)

    def _lap(self) -> None:
        encoded = self._encoded()
        self.clock.move(encoded - self.encoded, "encoding")
        self.encoded = encoded
        for name, spent in self.clock.lap().items():
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            self.total[name] = self.total.get(name, 0.0) + spent

    def _tell_progress(self) -> None:
        self._lap()
        self.tell(Tally(self.images - self.images_told, self.captions, self.seconds))
        self.images_told, self.captions, self.seconds, self.told = self.images, 0, {}, time.monotonic()
