"""Caption shards with an ensemble, never losing or repeating a caption: what is stored stays, the rest is done.

The same command resumes: a pilot, then the rest; more shards; one more member; other workers or batches.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from captioners.core import sums
from captioners.core.alarms import placeholders
from captioners.core.entry import Counts
from captioners.core.leases import Leases
from captioners.core.progress import Progress
from captioners.core.set_aside import Failed, failed_units
from captioners.core.stopping import resumable, stoppable
from captioners.executors.budget import Budget
from captioners.executors.claims import Claims
from captioners.executors.roller import Roller
from captioners.executors.watch import WINDOW, Watch
from captioners.jobs.generate.setup import Started, start
from captioners.jobs.generate.worker import Setting, Task, work
from captioners.jobs.recipes.generate import GenerateRecipe


@dataclass
class GenerateRun:
    """What a start of a run found and did."""

    directory: str
    shards: int
    """Shards this start was about."""
    frozen: int
    """All shards of the run."""
    progress: Progress
    stored: dict[str, Counts] = field(default_factory=dict)
    """Member -> sums over all its stored units."""
    before: int = 0
    """Rows that were stored already when this start began."""
    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Quarantine reason -> how many records, and an example."""

    quarantined: float = 0.0
    """Share of samples that could not be read, or of shards with a fault, whichever is larger."""
    failed: list[Failed] = field(default_factory=list)
    """Shards that are set aside, for they kill workers."""
    alarms: int = 0
    """In the entries of the whole run, or following from them."""


def generate(
    recipe: GenerateRecipe,
    *,
    name: str = "generate",
    replace: Collection[str] = (),
    say: Callable[[str], None] = lambda _: None,
    show: Callable[[Progress], None] = lambda _: None,
) -> GenerateRun:
    """Caption what is not captioned yet.

    Args:
        name: of the recipe, for the run's folder.
        replace: members whose captions, where they were made otherwise, are set aside and made anew.
        say: told in one line each what is about to happen.
        show: shown the progress, often.

    Raises:
        UserError: a mistake in the recipe, in what it names, or in what a run holds already.
        NeedsLookError: too much is quarantined.
        InterruptedRunError: stopped; the same command continues.
    """
    with stoppable():
        executor = recipe.executor.open(recipe.workers)
        started = start(recipe, name, say, replace)
        table = started.run.table()
        done = sums.whole_shards(table)
        tasks = [
            Task(number, shard)
            for number, captioners in enumerate(started.sharing.passes)
            for shard in started.shards
            if any((member.called, shard.path) not in done for of in captioners for member in recipe.groups[of])
        ]
        before = sum(counts.rows for counts in sums.by_layer(table).values())
        watch = Watch(tasks, sums.last_shards(started.run.ledger, table, WINDOW), recipe.quarantine_ceiling, show)
        say(_plan(recipe, started, tasks, before))
        setting = Setting(
            recipe=recipe,
            run=started.run.url,
            unit_samples=started.unit_samples,
            layers=started.layers,
            passes=started.sharing.passes,
            memory=started.sharing.memory,
            loaded=started.loaded if executor.here else {},
        )
        if tasks:
            Budget(recipe, started.run.ledger).check()
        try:
            with (
                resumable(lambda: _stopped(started, watch.progress)),
                Leases(started.run.place) as leases,
                Roller(started.run.place) as roller,
            ):
                passes = [[member.called for member in members] for members in started.sharing.members]
                workers = executor.workers
                claims = Claims(started.run, tasks, passes, leases, workers=workers, done=watch.finished, say=say)
                executor.run(work, setting, claims, roller.heard(watch), say)
        finally:
            setting.station.close()
    return _summary(started, watch.progress, before)


def _plan(recipe: GenerateRecipe, started: Started, tasks: list[Task], before: int) -> str:
    members = ", ".join(f"{member.called} x {member.draws}" for member in recipe.members)
    pilot = f" (a pilot of {started.frozen:,})" if len(started.shards) < started.frozen else ""
    stored = f"; {before:,} captions are stored already" if before else ""
    left = "nothing is left to do" if not tasks else f"{_shards(len(tasks))} to caption"
    if len(started.sharing.passes) > 1 and tasks:
        left += f" in {len(started.sharing.passes)} passes"
    return f"{started.run.url}: {_shards(len(started.shards))}{pilot}, {members}; {left}{stored}"


def _shards(number: int) -> str:
    return f"{number:,} shard{'' if number == 1 else 's'}"


def _stopped(started: Started, progress: Progress) -> str:
    return (
        f"stopped after {progress.done:,} of {progress.shards:,} shards; what is stored stays. Run the same command "
        f"again to go on, or: captioners generate {started.run.url}/recipe.yaml"
    )


def _summary(started: Started, progress: Progress, before: int) -> GenerateRun:
    table = started.run.table()
    run = GenerateRun(started.run.url, len(started.shards), started.frozen, progress, before=before)
    run.stored = sums.by_layer(table)
    for lost in sums.quarantine(table):
        run.reasons[lost.reason] = lost.count, started.run.example(lost.unit, lost.reason)
    run.quarantined = max(sums.lost_shares(table))
    run.failed = failed_units(started.run)
    run.alarms = int(sums.numbers(table, "alarms").sum()) + len(placeholders(table))
    return run
