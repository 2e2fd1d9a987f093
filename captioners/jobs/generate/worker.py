"""What a worker of `generate` does: load a pass's captioner, stream shards through it, store units, tell of it."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import chain, groupby
from typing import Any

from captioners.core import faults
from captioners.core.alarms import Alarm
from captioners.core.errors import CaptionersError, InterruptedRunError, UserError
from captioners.core.failures import is_infrastructure, words
from captioners.core.layers import Layer
from captioners.core.ledger import Entry
from captioners.core.progress import Clock
from captioners.core.run_dir import RunDir
from captioners.data.source import Shard
from captioners.images.pool import DecodePool
from captioners.jobs.generate import canary
from captioners.jobs.generate.alarms import blind, pictures_of
from captioners.jobs.generate.heartbeat import Heartbeat
from captioners.jobs.generate.loading import budget_of, load
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


@dataclass(frozen=True)
class Task:
    """A shard for the members of a pass."""

    number: int
    """Which pass."""
    shard: Shard
    alone: bool = False
    """Whether it may have killed a worker, and so is tried with no other beside it."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all workers of a run need to know; it travels to other processes."""

    recipe: GenerateRecipe
    run: str
    unit_samples: int
    layers: Mapping[str, Layer]
    loaded: dict[int, Captioner] = field(default_factory=dict)
    """Pass -> its captioner, where it is loaded already in this process."""
    station: Station = field(default_factory=Station)
    """Of this process."""


@dataclass
class Tally:
    """What a worker did since it last told: counts, and seconds by activity."""

    images: int = 0
    captions: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """A unit that a worker finished."""

    entry: Entry
    quarantined: tuple[Mapping[str, Any], ...] = ()
    """The first of its quarantine records."""


def work(
    setting: Setting,
    tasks: Iterator[Task],
    finished: Callable[[Task], None],
    tell: Callable[[Any], None],
    rank: int = 0,
) -> None:
    """Caption the shards of the tasks, pass by pass.

    Raises:
        InterruptedRunError: the machine failed, not the data: the same command continues.
        WorkerOutError: this machine captions otherwise than the run's first worker did.
    """
    recipe, station = setting.recipe, setting.station
    log = station.begin(setting.run, rank, f"captioners {version('captioners')}; {recipe.device}")
    try:
        with Heartbeat(recipe.patience_s, log.error) as heart:
            paced = heart.resting(tasks)
            # A pass ends where the canary is due, which is looked at between two streams.
            for (number, _), same in groupby(paced, key=lambda task: (task.number, station.round(recipe.canary_units))):
                captioner = station.captioner(number, partial(open_captioner, setting, number, rank))
                if station.canary_due(number, recipe.canary_units):
                    canary.look(RunDir(setting.run).place, captioner, environment_of(captioner))
                with heart.at_work():
                    Pass(setting, number, captioner, tell, heart).run(same, finished)
    except BaseException as error:
        station.end(error)
        reason = is_infrastructure(error) if isinstance(error, Exception) else None
        if reason is None or reason == "no space" or isinstance(error, CaptionersError):
            raise
        raise InterruptedRunError(
            f"the machine failed, {reason} ({words(error)}); what is stored stays: run the same command again"
        ) from error


def open_captioner(setting: Setting, number: int, rank: int) -> Captioner:
    """Return a pass's captioner, open, within its share of the memory.

    Raises:
        UserError: it is not any more what its layers were claimed for.
    """
    members = setting.recipe.passes[number]
    captioner = setting.loaded.pop(number, None) or load(members[0], setting.recipe, rank)
    meant = setting.layers[members[0].called].meaning
    if any(meant[key] != value for key, value in captioner.info.meaning.items()):
        raise UserError(
            f"captioner {written(members[0].captioner)} changed while the run was starting; run the command again"
        )
    captioner.open(budget_of(setting.recipe, captioner))
    return captioner


def facts_of(layer: Layer, captioner: Captioner) -> dict[str, str]:
    """Return what a layer's file says of itself; neither time, host nor path is in it."""
    import json

    return {
        "fingerprint": layer.fingerprint,
        "member": layer.name,
        "captioner": captioner.info.name,
        "weights": captioner.info.weights_digest,
        "decoding": json.dumps(layer.meaning["decoding"], sort_keys=True),
        "package": version("captioners"),
        "device": captioner.device_type,
        "dtype": captioner.environment["dtype"],
    }


def environment_of(captioner: Captioner) -> dict[str, str]:
    """Return what a caption may depend on besides its layer's meaning."""
    return {
        "captioners": version("captioners"),
        "python": platform.python_version(),
        "grade": captioner.info.grade,
        **captioner.environment,
    }


class Pass:
    """One pass in one worker."""

    def __init__(
        self,
        setting: Setting,
        number: int,
        captioner: Captioner,
        tell: Callable[[Any], None],
        heart: Heartbeat | None = None,
    ) -> None:
        self.setting, self.captioner, self.tell, self.heart = setting, captioner, tell, heart
        self.members = setting.recipe.passes[number]
        self.run_dir = RunDir(setting.run)
        self.facts = {m.called: facts_of(setting.layers[m.called], captioner) for m in self.members}
        self.environment = environment_of(captioner)
        self.clock = Clock("decoding")
        self.encoded = captioner.encode_seconds  # of earlier passes: none of this one's time
        self.seconds: dict[str, float] = {}
        self.total: dict[str, float] = {}
        self.stored: dict[str, float] = {}
        self.images = self.images_told = self.captions = 0
        self.told = time.monotonic()
        self.alarms: dict[str, list[Alarm]] = {}
        """Member -> what the entry of its next unit is to say."""

    def run(self, tasks: Iterator[Task], finished: Callable[[Task], None]) -> None:
        """Caption the shards of all tasks in one stream."""
        recipe = self.setting.recipe
        tasks = self._look(tasks)
        queue = recipe.queue_mb * _MB
        pool = DecodePool(self._decoders(), queue, recipe.decode_profile, recipe.max_pixels, self.captioner.fit)
        stream = PassStream(
            self.members,
            source=recipe.source.open(),
            pool=pool,
            ledger=self.run_dir.ledger,
            store=self.store,
            recipe=recipe,
            unit_samples=self.setting.unit_samples,
            clock=self.clock,
        )
        with pool:
            works = (self._begun(task, finished) for task in tasks)
            for _ in stream.run(self.captioner, works):
                self.captions += 1
                if self.heart is not None:
                    self.heart.beat()
                if time.monotonic() - self.told > _TELL_EVERY_S:
                    self.images = stream.images
                    self._tell_progress()
        self.images = stream.images
        self._tell_progress()

    def _look(self, tasks: Iterator[Task]) -> Iterator[Task]:
        """Ask whether captions change with their pictures, by those of the first shard; return the tasks again."""
        recipe = self.setting.recipe
        first = next(tasks, None)
        if first is None:
            return iter(())
        pictures = pictures_of(recipe, first.shard, self.captioner.fit)
        for member in self.members:
            self.alarms[member.called] = blind(self.captioner, member, pictures, recipe.seed, first.shard.path)
        return chain([first], tasks)

    def _begun(self, task: Task, finished: Callable[[Task], None]) -> Work:
        faults.point(f"begin {task.shard.path}")
        return Work(task.shard, partial(finished, task))

    def _decoders(self) -> int:
        recipe = self.setting.recipe
        if recipe.decode_workers is not None:
            return recipe.decode_workers
        cores = (os.cpu_count() or 1) // recipe.workers
        return max(1, min(_MOST_DECODERS, cores)) if self.captioner.device_type != "cpu" else 1

    def store(self, part: Part, member: Member) -> None:
        """Commit a unit and tell of it."""
        layer = self.setting.layers[member.called]
        entry, rows = part.entry(member, layer.fingerprint)
        self._lap()
        unit = {name: round(spent - self.stored.get(name, 0.0), 3) for name, spent in self.total.items()}
        self.stored = dict(self.total)
        entry = replace(
            entry,
            alarms=[*entry.alarms, *(alarm.record() for alarm in self.alarms.pop(member.called, ()))],
            environment=self.environment,
            kept=sum(row["keep"] for row in rows),
            worker=self.setting.station.worker,
            seconds=unit,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with self.clock.at("writing"):
            stored = self.run_dir.commit(
                entry, rows, self.facts[member.called], part.quarantined, self.setting.recipe.format
            )
        self._tell_progress()
        self.setting.station.stored()
        if self.heart is not None:
            self.heart.stored(part)
        if stored is not None:
            self.tell(Stored(stored, tuple(part.quarantined[:_EXAMPLES])))

    def _lap(self) -> None:
        encoded = self.captioner.encode_seconds
        self.clock.move(encoded - self.encoded, "encoding")
        self.encoded = encoded
        for name, spent in self.clock.lap().items():
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            self.total[name] = self.total.get(name, 0.0) + spent

    def _tell_progress(self) -> None:
        self._lap()
        self.tell(Tally(self.images - self.images_told, self.captions, self.seconds))
        self.images_told, self.captions, self.seconds, self.told = self.images, 0, {}, time.monotonic()
