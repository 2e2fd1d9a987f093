"""Reinforce captioned shards: augmentations of each picture, and what an ensemble of teachers says of them and texts.

    RUN/shards/00/0.tar         the input's shard, its members untouched, with paug.json and npz (or pth.gz) added
    RUN/shards/config.json      teachers in their order, their scales, the augmentation: what a trainer is given
    RUN/shards/00/sizes.json, manifest.jsonl    samples of each shard, in its folder
    RUN/left_out.jsonl          every sample that is not there, with its reason; only if there is any

The same command resumes: what is stored stays, the rest is done, here or by other workers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from captioners.core import sums
from captioners.core.entry import Counts
from captioners.core.errors import UserError
from captioners.core.leases import Leases
from captioners.core.progress import Progress
from captioners.core.run_dir import RunDir
from captioners.core.set_aside import Failed, failed_units
from captioners.core.shard_files import REINFORCED, SHARDS, clear_attempts, publish
from captioners.core.stopping import resumable, stoppable
from captioners.executors.budget import Budget
from captioners.executors.claims import Claims
from captioners.executors.roller import Roller
from captioners.executors.watch import WINDOW, Watch
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce.estimate import estimate
from captioners.jobs.reinforce.setup import Started, start
from captioners.jobs.reinforce.station import Station
from captioners.jobs.reinforce.worker import RENEWED, Setting, Task, work
from captioners.reinforcement.set_files import INFO, set_files

LEFT_OUT = "left_out.jsonl"


@dataclass
class ReinforceRun:
    """What a start of a run found and did."""

    directory: str
    shards: int
    """Shards this start was about."""
    frozen: int
    """All shards of the run."""
    progress: Progress
    counts: Counts
    """Over all stored shards; `captioned` are the samples that were reinforced."""
    written: int = 0
    """Bytes of all stored shards, where they lie on this machine."""
    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Reason -> how many samples were left out for it, and an example."""
    renewed: int = 0
    """Stored embeddings that gave way, for their captions are other ones now."""
    quarantined: float = 0.0
    """Share of samples that were left out, or of shards with a fault, whichever is larger."""
    failed: list[Failed] = field(default_factory=list)
    """Shards that are set aside, for they kill workers."""


def reinforce(
    recipe: ReinforceRecipe,
    *,
    name: str = "reinforce",
    say: Callable[[str], None] = lambda _: None,
    show: Callable[[Progress], None] = lambda _: None,
) -> ReinforceRun:
    """Reinforce the shards that are not done yet.

    Args:
        name: of the recipe, for the run's folder.
        say: told in one line each what is about to happen. show: shown the progress, often.

    Raises:
        UserError: a mistake in the recipe, in what it names, or in what a run holds already.
        NeedsLookError: too much is quarantined. InterruptedRunError: stopped; the same command continues.
    """
    with stoppable():
        executor = recipe.executor.open(recipe.workers)
        started = start(recipe, name, say)
        run = started.run
        publish(run, run.entries())
        table = run.table()
        done = sums.whole_shards(table)
        tasks = [Task(0, shard) for shard in started.shards if (REINFORCED, shard.path) not in done]
        watch = Watch(tasks, sums.last_shards(run.ledger, table, WINDOW), recipe.quarantine_ceiling, show)
        say(_plan(recipe, started, tasks))
        setting = Setting(
            recipe=recipe,
            run=run.url,
            layer=started.layer,
            batch=started.ensemble.batch,
            station=Station(ensemble=started.ensemble if executor.here else None),
        )
        if tasks:
            Budget(recipe, run.ledger).check()
        with (
            resumable(lambda: _stopped(started, watch.progress)),
            Leases(run.place) as leases,
            Roller(run.place) as roller,
        ):
            claims = Claims(run, tasks, [[REINFORCED]], leases, done=watch.finished, say=say)
            executor.run(work, setting, claims, roller.heard(watch), say)
        return _finished(started, watch.progress)


def _plan(recipe: ReinforceRecipe, started: Started, tasks: list[Task]) -> str:
    teachers = " + ".join(teacher.called for teacher in recipe.teachers)
    pilot = f" (a pilot of {started.frozen:,})" if len(started.shards) < started.frozen else ""
    left = f"{_shards(len(tasks))} to reinforce" if tasks else "nothing is left to do"
    size = estimate(recipe, [task.shard for task in tasks], started.ensemble.dims)
    said = f"; {size.line}" if size is not None else ""
    return f"{started.run.url}: {_shards(len(started.shards))}{pilot}, {recipe.n_aug} x {teachers}; {left}{said}"


def _shards(number: int) -> str:
    return f"{number:,} shard{'' if number == 1 else 's'}"


def _stopped(started: Started, progress: Progress) -> str:
    return (
        f"stopped after {progress.done:,} of {progress.shards:,} shards; what is stored stays. Run the same command "
        f"again to go on, or: captioners reinforce {started.run.url}/recipe.yaml"
    )


def _finished(started: Started, progress: Progress) -> ReinforceRun:
    run = started.run
    entries = sorted(run.entries(), key=lambda entry: entry.shard)
    publish(run, entries)  # also what a worker that was killed elsewhere entered, and could not name any more
    if len(entries) == started.frozen:
        clear_attempts(run)
    _describe(run, {entry.shard: entry.counts.captioned for entry in entries if entry.file})
    files = [run.place.read(entry.quarantine_file) for entry in entries if entry.quarantine_file]
    if files:
        run.place.write(LEFT_OUT, b"".join(files))
    table = run.table()
    found = ReinforceRun(run.url, len(started.shards), started.frozen, progress, Counts())
    found.counts = sums.by_layer(table).get(REINFORCED, Counts())
    for lost in sums.quarantine(table):
        found.reasons[lost.reason] = lost.count, run.example(lost.unit, lost.reason)
    found.renewed = int(sums.tally(table, "flags").sums().get(RENEWED, 0))
    found.quarantined = max(sums.lost_shares(table))
    found.failed = failed_units(run)
    local = run.place.local
    if local is not None:
        if gone := next((entry.file for entry in entries if entry.file and not (local / entry.file).is_file()), None):
            raise UserError(
                f"{local / gone} is gone, which this run had finished; captioners verify {run.url} says more"
            )
        found.written = sum((local / entry.file).stat().st_size for entry in entries if entry.file)
    return found


def _describe(run: RunDir, shards: dict[str, int]) -> None:
    """Write how many samples the shards have, where trainers look for it."""
    for file, text in set_files(shards, "", "").items():
        if file != INFO:  # the reference's, for its own JSONL
            run.place.write(f"{SHARDS}/{file}", text.encode())
