"""Probe captions: train small CLIP students that differ in their captions alone, judge them, and compare them.

    RUN/recipe.yaml      the recipe, resolved
    RUN/results.jsonl    every student's number on every task; what is there is not trained again
    RUN/probe.json       contrasts, sanity checks, what chance would give
    RUN/cache/           decoded pictures; may be deleted

The same command resumes. Where `output` names the folder, more arms, seeds or weights of distillation continue the
same run; by default, its name stands for the recipe.
"""

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from math import isnan
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.core.options import meaning_of
from captioners.core.recipe import resolved
from captioners.core.stopping import resumable, stoppable
from captioners.executors.local import run_tasks
from captioners.jobs.probe.external import export_arms
from captioners.jobs.probe.judges import Judges, states_of
from captioners.jobs.probe.results import USED, Trained, append, read, read_external, trained_elsewhere
from captioners.jobs.probe.sanity import Check, checks_of
from captioners.jobs.probe.student import make_student
from captioners.jobs.probe.table import scenes_of
from captioners.jobs.probe.work import Failed, Setting, Tables, Task, run_of, students_of, work
from captioners.jobs.recipes.probe import ProbeRecipe
from captioners.metrics.contrasts import Contrast, Declared, Result, contrasts
from captioners.reinforcement.held import hold, open_held, teachers_of

Say = Callable[[str], None]
FOUND = "probe.json"


@dataclass(kw_only=True)
class ProbeRun:
    """What a probe found."""

    directory: str
    results: list[Result]
    """Of the recipe's arms, seeds and weights, as far as they are trained."""
    contrasts: list[Contrast]
    used: list[Trained] = field(default_factory=list)
    """The students that the results are of, and those of the controls."""
    checks: list[Check] = field(default_factory=list)
    """What had to come out as known, and whether it did."""
    chance: dict[str, float] = field(default_factory=dict)
    """Task -> what it comes to without looking."""
    pictures: int = 0
    """That all arms share, and train on."""
    left_out: list[str] = field(default_factory=list)
    """The first samples that are not among them, with the reason."""
    num_left_out: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Arm -> why a student of it could not be trained."""
    seconds: float = 0.0
    """Of all its students, one after another."""

    def as_json(self) -> dict[str, Any]:
        """Return all but the results as JSON-able values; what is not defined is null."""
        chance = {task: None if isnan(value) else value for task, value in self.chance.items()}
        return {
            "contrasts": [one.as_json() for one in self.contrasts],
            "checks": [asdict(one) for one in self.checks],
            "chance": chance,
            "pictures": self.pictures,
            "left_out": self.num_left_out,
            "failed": self.failed,
        }


def probe(
    recipe: ProbeRecipe, say: Say = lambda _: None, *, only: Collection[str] | None = None, known: Collection[str] = ()
) -> ProbeRun:
    """Train and judge the students that are not there yet, and compare the arms.

    Args:
        say: told in a line each what is about to happen, and how each student did. only: the arms and controls whose
            students are trained, by default all; of the others, what is there is told. known: of `kind: external`,
            names of arms that are none of the recipe's, whose results are passed over.

    Raises:
        UserError: a mistake in the recipe, in what it names, or in what the folder holds.
        InterruptedRunError: stopped; the same command continues.
    """
    folder = _folder(recipe)
    (folder / "recipe.yaml").write_text(resolved(recipe.model_copy(update={"output": str(folder)})), encoding="utf-8")
    if recipe.kind == "external":
        run = _external(recipe, folder, known, say)
    else:
        with stoppable(), resumable(lambda: _stopped(folder)):
            run = _trained_here(recipe, folder, only, say)
    (folder / FOUND).write_text(json.dumps(run.as_json(), indent=1) + "\n", encoding="utf-8")
    return run


def read_run(folder: Path) -> ProbeRun | None:
    """Return what an ablation's page rests on, as it lies in a bundle; None where no student counts.

    Raises UserError where it is damaged.
    """
    used, file = read(folder, USED), folder / FOUND
    try:
        said = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        chance = {str(task): float("nan" if value is None else value) for task, value in said.get("chance", {}).items()}
    except (ValueError, TypeError, AttributeError):
        raise UserError(f"{file}: damaged; restore it") from None
    if not used:
        return None
    counts = {"pictures": said.get("pictures", 0), "num_left_out": said.get("left_out", 0)}
    return ProbeRun(directory=str(folder), results=[], contrasts=[], used=used, chance=chance, **counts)


def declared_of(recipe: ProbeRecipe) -> Declared:
    """Return what a recipe declares."""
    one = recipe.declare
    pairs = tuple((arm, against) for arm, against in one.contrasts)
    return Declared(
        primary=one.primary,
        contrasts=pairs,
        margin=one.margin,
        seeds=tuple(recipe.seeds),
        weights=tuple(recipe.distillation_weights),
        arms=tuple(recipe.arms),
    )


def _trained_here(recipe: ProbeRecipe, folder: Path, only: Collection[str] | None, say: Say) -> ProbeRun:
    setting = _prepared(recipe, folder, say)
    tables = Tables(setting)
    wanted = students_of(recipe, list(recipe.arms), tables.sanity)
    runs = {arm: run_of(setting, tables[arm]) for arm in tables}
    there = {Task(one.arm, one.seed, one.distillation): one for one in read(folder) if runs.get(one.arm) == one.run}
    left = [task for task in wanted if task not in there and (only is None or task.arm in only)]
    first = make_student(recipe.student, 0)
    judges = Judges(recipe.evaluation, first.preprocess, folder / "cache")  # what is wrong with a source is said now
    shown = tables[next(iter(tables))]
    judges.refuse_leaks(scenes_of(shown))
    pictures = len(shown)
    if pictures < recipe.batch_size:
        raise UserError(
            f"batch_size {recipe.batch_size}: the arms share {pictures} pictures; take a smaller batch or more pictures"
        )
    say(f"{folder}: {len(recipe.arms)} arms on {pictures:,} pictures, {len(left)} of {len(wanted)} students to train")
    failed: dict[str, str] = {}
    began = time.monotonic()

    def tell(what: Trained | Failed) -> None:
        if isinstance(what, Failed):
            failed[what.task.arm] = what.why
            say(f"arm {what.task.arm}, seed {what.task.seed}: {what.why}")
            return
        append(folder, what)
        _known_task(recipe, what.values)
        there[Task(what.arm, what.seed, what.distillation)] = what
        done = sum(task in there for task in left)
        rest = (time.monotonic() - began) / done * (len(left) - done)
        primary = recipe.declare.primary
        say(
            f"{done} of {len(left)}: {what.arm}, seed {what.seed}, distillation {what.distillation:g}: "
            f"{primary} {what.values[primary]:.3f} ({what.seconds:.0f} s; about {rest / 60:.0f} min left)"
        )

    run_tasks(work, setting, left, workers=recipe.workers, tell=tell, notice=say)
    used = [there[task] for task in wanted if task in there]
    results = [result for one in used if one.arm in recipe.arms for result in one.results]
    chance = judges.chance
    held = [open_held(one) for one in dict.fromkeys(setting.held)]
    return ProbeRun(
        directory=str(folder),
        results=results,
        contrasts=_compared(results, recipe),
        used=used,
        checks=checks_of(used, recipe.arms, chance),
        chance=chance,
        pictures=pictures,
        left_out=[reason for one in held for reason in one.left_out],
        num_left_out=sum(one.num_left_out for one in held) + len(held[0]) - pictures,
        failed=failed,
        seconds=sum(one.seconds for one in there.values()),
    )


def _prepared(recipe: ProbeRecipe, folder: Path, say: Say) -> Setting:
    """Decode the sets of all arms, each once."""
    student = make_student(recipe.student, 0)
    sets: dict[tuple[str, ...], Path] = {}
    of_arm = []
    for name, arm in recipe.arms.items():
        inputs = tuple(arm.shards or recipe.shards)
        if not inputs:
            raise UserError(f"arms.{name}: has no shards, and neither has the recipe; say shards='[\"FOLDER\"]'")
        if inputs not in sets:
            where = folder / "cache" / f"set-{sha256(json.dumps(inputs).encode()).hexdigest()[:8]}"
            most = int(recipe.cache_gb * 1e9)
            hold(inputs, where, student.size, student.interpolation, most_bytes=most, say=say)
            sets[inputs] = where.absolute()
        of_arm.append(sets[inputs])
    first, *others = sets
    teachers = teachers_of(first)
    for one in others:
        if teachers_of(one) != teachers:
            raise UserError(
                f"{', '.join(one)}: other teachers, or scales, than {', '.join(first)}; reinforce both alike"
            )
    judged_by = tuple(state for one in recipe.evaluation for state in states_of(one))
    return Setting(recipe, folder.absolute(), tuple(of_arm), tuple(teachers), judged_by)


def _external(recipe: ProbeRecipe, folder: Path, known: Collection[str], say: Say) -> ProbeRun:
    """Write the arms' shards, or read what was trained on them."""
    if recipe.results is None:
        export_arms(recipe, folder, say)
        return ProbeRun(directory=str(folder), results=[], contrasts=[])
    found = read_external(Path(recipe.results))
    strange = sorted({one.arm for one in found} - {*recipe.arms, *known})
    if strange:
        raise UserError(f"results {recipe.results}: no arm is named {strange[0]!r}; there are {', '.join(recipe.arms)}")
    found = [one for one in found if one.arm in recipe.arms]
    results = [one for one in found if one.seed in recipe.seeds and one.distillation in recipe.distillation_weights]
    if not results:
        raise UserError(f"results {recipe.results}: no line is of the recipe's arms, seeds and distillation_weights")
    return ProbeRun(
        directory=str(folder),
        results=results,
        contrasts=_compared(results, recipe),
        used=trained_elsewhere(results),
    )


def _compared(results: Sequence[Result], recipe: ProbeRecipe) -> list[Contrast]:
    """Return all declared contrasts; one whose arms have no results yet is among them."""
    if results:
        _known_task(recipe, {result.task for result in results})
    return contrasts(results, declared_of(recipe))


def _known_task(recipe: ProbeRecipe, tasks: Collection[str]) -> None:
    """Raise UserError if what decides is no task: after the first student, and not after the last."""
    primary = recipe.declare.primary
    if primary not in tasks:
        raise UserError(f"declare.primary: no task is named {primary!r}; there are {', '.join(sorted(tasks))}")


def _folder(recipe: ProbeRecipe) -> Path:
    """Make the run's folder, or find it; UserError if something else is there."""
    name = sha256(json.dumps(meaning_of(recipe), sort_keys=True).encode()).hexdigest()[:6]
    folder = Path(recipe.output).expanduser() if recipe.output else Path("runs") / f"probe-{name}"
    said = folder / "recipe.yaml"
    if folder.is_dir() and any(folder.iterdir()):
        ours = said.is_file() and "job: probe" in said.read_text(encoding="utf-8", errors="replace").splitlines()
        if not ours:
            raise UserError(f"output {folder}: is not empty and holds no run of probe; name another output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output {folder}: cannot be made ({error.strerror}); name another output") from None
    return folder


def _stopped(folder: Path) -> str:
    return f"stopped; {len(read(folder))} students are judged and stay. Run the same command again to go on"
