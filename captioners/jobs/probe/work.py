"""What a worker of the probe does: train students, one after another, and judge each after its last step."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captioners.core.errors import CaptionersError, InterruptedRunError, UserError
from captioners.jobs.probe.judges import Judges
from captioners.jobs.probe.results import Trained
from captioners.jobs.probe.student import make_student
from captioners.jobs.probe.table import COPIES, Table, copies, is_drawn, oracle, shuffled, tables_of
from captioners.jobs.probe.train import Steps, train
from captioners.jobs.recipes.probe import ProbeOptions, ProbeRecipe
from captioners.kinds._device import device_named
from captioners.models.weights import weights_digest
from captioners.reinforcement.held import open_held
from captioners.reinforcement.loss import Teacher

SEMANTICS = 1
"""Raised when the same recipe gives other students."""
CONTROLS = ONE, MANY, SHUFFLED, ORACLE = (
    "sanity: one caption", "sanity: its copies", "sanity: shuffled", "sanity: oracle",
)  # fmt: skip
_MEANING = ("ground_truth", "student", "steps", "batch_size", "lr", "weight_decay", "warmup", "evaluation")


@dataclass(frozen=True)
class Task:
    """One student."""

    arm: str
    seed: int
    distillation: float


@dataclass(frozen=True)
class Failed:
    """A student that could not be trained, and why."""

    task: Task
    why: str


@dataclass(frozen=True)
class Setting:
    """What workers share: the recipe and where sets are held; everything else they open themselves."""

    recipe: ProbeRecipe
    folder: Path
    held: tuple[Path, ...]
    """Of each arm, in the recipe's order."""
    teachers: tuple[tuple[int, float], ...]
    """Width and logit scale of each."""
    judged_by: tuple[tuple[str, int, str], ...] = ()
    """The shards that students are judged by: path, bytes, and what changes with the content."""


class Tables(Mapping[str, Table]):
    """The table of each arm, then those of the sanity arms, which are made when they are asked for."""

    def __init__(self, setting: Setting) -> None:
        recipe = setting.recipe
        opened = {folder: open_held(folder) for folder in dict.fromkeys(setting.held)}
        self._found = tables_of(recipe.arms, [opened[folder] for folder in setting.held])
        captioned = [table for name, table in self._found.items() if recipe.arms[name].captions]
        first = captioned[0] if captioned else next(iter(self._found.values()))
        self._made: dict[str, Callable[[], Table]] = {}
        if recipe.sanity:
            self._made[SHUFFLED] = lambda: shuffled(first)
            if captioned:
                self._made |= {ONE: lambda: copies(first, 1), MANY: lambda: copies(first, COPIES)}
            if is_drawn(first):
                self._made[ORACLE] = lambda: oracle(first)

    @property
    def sanity(self) -> list[str]:
        """The sanity arms."""
        return list(self._made)

    def __getitem__(self, arm: str) -> Table:
        if arm not in self._found:
            self._found[arm] = self._made[arm]()
        return self._found[arm]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._found, *self._made)))

    def __len__(self) -> int:
        return len(list(iter(self)))


def run_of(setting: Setting, table: Table) -> str:
    """Return a digest of all that a table's students depend on besides seed and weight of distillation."""
    recipe = setting.recipe.model_dump(mode="json", include=set(_MEANING))
    truth = [table.held.texts[at] for at in table.truth]
    texts = [{key: [table.captions[at] for at in own] for key, own in one.items()} for one in table.of_image]
    teachers = sha256(table.held.image_emb[table.rows].tobytes()).hexdigest()
    # Another kind of device, or another PyTorch, trains another student.
    machine = [device_named(setting.recipe.device).type, torch.__version__]
    about = [SEMANTICS, machine, recipe, setting.judged_by, setting.teachers, table.names, truth, texts, teachers]
    return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]


def work(
    setting: Setting,
    tasks: Iterator[Task],
    finished: Callable[[Task], None],
    tell: Callable[[Any], None],
    rank: int = 0,
) -> None:
    """Train the students that are handed out.

    Where there is no GPU, each on one thread: so results do not depend on how many workers there are.
    """
    device = device_named(setting.recipe.device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", rank % torch.cuda.device_count())
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device.type == "cpu" else threads)
    try:
        room = _Room(setting, device)
        for task in tasks:
            found: Trained | Failed
            try:
                found = room.trained(task)
            except (UserError, InterruptedRunError):
                raise  # the recipe's mistake, or the machine's: no other arm would do better
            except CaptionersError as error:
                found = Failed(task, str(error))
            tell(found)
            finished(task)
    finally:
        torch.set_num_threads(threads)


class _Room:
    """What a worker has open."""

    def __init__(self, setting: Setting, device: torch.device) -> None:
        self._setting, self._device = setting, device
        first = make_student(setting.recipe.student, 0)
        self._judges = Judges(setting.recipe.evaluation, first.preprocess, setting.folder / "cache")
        self._tokenize = first.tokenize
        self._runs: dict[str, str] = {}
        self._tokens: dict[int, Tensor] = {}
        self._tables = Tables(setting)

    def trained(self, task: Task) -> Trained:
        """Train and judge one student."""
        recipe, table = self._setting.recipe, self._tables[task.arm]
        began = time.monotonic()
        student = make_student(recipe.student, task.seed, self._device)
        tokens = self._tokens_of(table.held.texts), self._tokens_of(table.captions)
        steps = Steps(table, tokens, seed=task.seed, batch=recipe.batch_size, ground_truth=recipe.ground_truth)
        teachers = [Teacher(*one) for one in self._setting.teachers]
        train(student, steps, teachers, recipe, distillation_weight=task.distillation)
        values = self._judges(student)
        for name, value in values.items():
            if not isfinite(value):
                raise CaptionersError(f"the student's {name} is {value}, which is no result")
        if task.arm not in self._runs:
            self._runs[task.arm] = run_of(self._setting, table)
        weights = weights_digest(student.model.state_dict())[:12]
        seconds = time.monotonic() - began
        return Trained(task.arm, task.seed, task.distillation, self._runs[task.arm], weights, seconds, values)

    def _tokens_of(self, texts: Sequence[str]) -> Tensor:
        """Return the token ids of texts, of many equal ones made once; the lists live as long as the tables do."""
        if id(texts) not in self._tokens:
            unique = list(dict.fromkeys(texts)) or [""]
            place = {text: at for at, text in enumerate(unique)}
            which = torch.tensor([place[text] for text in texts], dtype=torch.int64)
            self._tokens[id(texts)] = self._tokenize(unique)[which]
        return self._tokens[id(texts)]


def students_of(recipe: ProbeOptions, arms: Sequence[str], sanity: Sequence[str]) -> list[Task]:
    """Return all students to train: seed by seed, so that every arm has some early; sanity arms with the first seed."""
    found = []
    for seed in recipe.seeds:
        found += [Task(arm, seed, weight) for arm in arms for weight in recipe.distillation_weights]
        if seed == recipe.seeds[0]:
            weight = max(recipe.distillation_weights)
            found += [Task(arm, seed, weight if arm in (ONE, MANY) else 0.0) for arm in sanity]
    return found
