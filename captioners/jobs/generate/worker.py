"""What a worker of `generate` does: load a pass's captioners, stream shards through it, store units, tell of it."""

import errno
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import groupby
from typing import TYPE_CHECKING, Any

from captioners.core.errors import InterruptedRunError, UserError
from captioners.core.layers import Layer
from captioners.core.ledger import Entry
from captioners.core.progress import Clock
from captioners.core.run_dir import RunDir
from captioners.data.source import Shard
from captioners.images.pool import DecodePool
from captioners.jobs.generate.budget import Budget
from captioners.jobs.generate.loading import budget_of, load
from captioners.jobs.generate.passes import budgets, share_towers
from captioners.jobs.generate.stream import PassStream, Work
from captioners.jobs.generate.units import Part
from captioners.jobs.recipes.generate import GenerateRecipe, Member

if TYPE_CHECKING:
    from captioners.kinds.coca import CocaCaptioner

_MB = 10**6
_TELL_EVERY_S = 0.5
_MOST_DECODERS = 8
_EXAMPLES = 5
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Task:
    """A shard for the members of a pass."""

    number: int
    """Which pass."""
    shard: Shard


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
    loaded: "dict[int, CocaCaptioner]" = field(default_factory=dict)
    """Number -> captioner, where it is loaded already in this process."""


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
        InterruptedRunError: the machine failed, not the data, or the budget is spent: the same command continues.
    """
    try:
        for number, same in groupby(tasks, key=lambda task: task.number):
            captioners = open_captioners(setting, number, rank)
            passed = Pass(setting, number, captioners, tell)
            passed.run(same, finished)
            for captioner in captioners:
                captioner.close()
            if passed.spent:
                raise InterruptedRunError(passed.spent)
    except (RuntimeError, OSError) as error:
        if failing_machine(error):
            said = " ".join(str(error).split())[:200]
            raise InterruptedRunError(
                f"the machine failed ({said}); what is stored stays: run the same command again"
            ) from error
        raise


def failing_machine(error: RuntimeError | OSError) -> bool:
    """Whether an error is the disk's or the GPU's (a full disk has a message of its own), and not a bug."""
    if isinstance(error, OSError):
        return error.errno not in _NO_SPACE
    return "CUDA" in str(error)


def open_captioners(setting: Setting, number: int, rank: int) -> "list[CocaCaptioner]":
    """Return a pass's captioners, open, each within its share of the memory; equal image towers are held once."""
    together = setting.passes[number]
    captioners = [loaded_captioner(setting, captioner, rank) for captioner in together]
    if len(captioners) == 1:
        captioners[0].open(budget_of(setting.recipe, captioners[0]))
        return captioners
    share_towers(captioners)
    shares = budgets([captioner.needs for captioner in captioners], setting.memory)
    for captioner, budget in zip(captioners, shares, strict=True):
        captioner.open(budget)
    return captioners


def loaded_captioner(setting: Setting, number: int, rank: int) -> "CocaCaptioner":
    """Return the `number`-th captioner of the recipe.

    Raises:
        UserError: it is not any more what its layers were claimed for.
    """
    members = setting.recipe.groups[number]
    captioner = setting.loaded.pop(number, None) or load(members[0], setting.recipe, rank)
    meant = setting.layers[members[0].called].meaning
    if any(meant[key] != value for key, value in captioner.info.meaning.items()):
        raise UserError(f"captioner {members[0].captioner} changed while the run was starting; run the command again")
    return captioner


def facts_of(layer: Layer, captioner: "CocaCaptioner") -> dict[str, str]:
    """Return what a layer's file says of itself; neither time, host nor path is in it."""
    import json

    return {
        "fingerprint": layer.fingerprint,
        "member": layer.name,
        "captioner": captioner.info.name,
        "weights": captioner.info.weights_digest,
        "decoding": json.dumps(layer.meaning["decoding"], sort_keys=True),
        "package": version("captioners"),
        "device": captioner.device.type,
        "dtype": str(captioner.dtype).removeprefix("torch."),
    }


def environment_of(captioner: "CocaCaptioner") -> dict[str, str]:
    """Return what a caption may depend on besides its layer's meaning."""
    import torch

    on_gpu = captioner.device.type == "cuda"
    return {
        "captioners": version("captioners"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(captioner.device) if on_gpu else platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "dtype": str(captioner.dtype).removeprefix("torch."),
        "grade": captioner.info.grade,
        "threads": str(torch.get_num_threads()),
    }


class Pass:
    """One pass in one worker: its captioners are open, in the order of the setting's numbers."""

    def __init__(
        self, setting: Setting, number: int, captioners: "Sequence[CocaCaptioner]", tell: Callable[[Any], None]
    ) -> None:
        self.setting, self.captioners, self.tell = setting, captioners, tell
        groups = [setting.recipe.groups[captioner] for captioner in setting.passes[number]]
        self.lanes = list(zip(captioners, groups, strict=True))
        self.run_dir = RunDir(setting.run)
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
        fit, queue = self.captioners[0].preprocess.fit, recipe.queue_mb * _MB  # of all alike: a pass has one fit
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
            works = (Work(task.shard, partial(finished, task)) for task in tasks)
            for _ in stream.run(self.lanes, works):
                self.captions += 1
                if time.monotonic() - self.told > _TELL_EVERY_S:
                    self.images = stream.images
                    self._tell_progress()
        self.images = stream.images
        self._tell_progress()

    def _decoders(self) -> int:
        recipe = self.setting.recipe
        if recipe.decode_workers is not None:
            return recipe.decode_workers
        cores = (os.cpu_count() or 1) // recipe.workers
        return max(1, min(_MOST_DECODERS, cores)) if self.captioners[0].device.type == "cuda" else 1

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
            environment=self.environments[member.called],
            seconds=unit,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with self.clock.at("writing"):
            stored = self.run_dir.commit(
                entry, rows, self.facts[member.called], part.quarantined, self.setting.recipe.format
            )
        self._tell_progress()
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
