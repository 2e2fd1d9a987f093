"""Caption shards with an ensemble, never losing or repeating a caption: what is stored stays, the rest is done.

The same command resumes: a pilot, then the rest; more shards; one more member; other workers or batches.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from captioners.core.alarms import Alarm, run_alarms
from captioners.core.errors import InterruptedRunError
from captioners.core.ledger import Counts, Entry
from captioners.core.progress import Progress
from captioners.core.run_dir import RunDir
from captioners.core.stopping import stoppable
from captioners.executors.local import run_tasks
from captioners.jobs.generate.setup import Started, finished_shards, start
from captioners.jobs.generate.watch import Watch
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
    alarms: list[Alarm] = field(default_factory=list)
    """What needs a look though every rule was kept."""


def generate(
    recipe: GenerateRecipe,
    *,
    name: str = "generate",
    say: Callable[[str], None] = lambda _: None,
    show: Callable[[Progress], None] = lambda _: None,
) -> GenerateRun:
    """Caption what is not captioned yet.

    Args:
        name: of the recipe, for the run's folder.
        say: told in one line each what is about to happen.
        show: shown the progress, often.

    Raises:
        UserError: a mistake in the recipe, in what it names, or in what a run holds already.
        NeedsLookError: too much is quarantined.
        InterruptedRunError: stopped; the same command continues.
    """
    with stoppable():
        started = start(recipe, name, say)
        entries = list(started.run.entries())
        done = finished_shards(entries)
        tasks = [
            Task(number, shard)
            for number, members in enumerate(recipe.passes)
            for shard in started.shards
            if any((member.called, shard.path) not in done for member in members)
        ]
        before = sum(entry.counts.rows for entry in entries)
        watch = Watch(tasks, entries, recipe.quarantine_ceiling, show)
        say(_plan(recipe, started, tasks, before))
        setting = Setting(
            recipe=recipe,
            run=started.run.url,
            unit_samples=started.unit_samples,
            layers=started.layers,
            loaded=started.loaded,
        )
        try:
            run_tasks(work, setting, tasks, workers=recipe.workers, tell=watch, finished=watch.finished, notice=say)
        except KeyboardInterrupt:
            raise InterruptedRunError(_stopped(started, watch.progress)) from None
    return _summary(started, watch.progress, before)


def _plan(recipe: GenerateRecipe, started: Started, tasks: list[Task], before: int) -> str:
    members = ", ".join(f"{member.called} x {member.draws}" for member in recipe.members)
    pilot = f" (a pilot of {started.frozen:,})" if len(started.shards) < started.frozen else ""
    stored = f"; {before:,} captions are stored already" if before else ""
    left = "nothing is left to do" if not tasks else f"{_shards(len(tasks))} to caption"
    if len(recipe.passes) > 1 and tasks:
        left += f" in {len(recipe.passes)} passes"
    return f"{started.run.url}: {_shards(len(started.shards))}{pilot}, {members}; {left}{stored}"


def _shards(number: int) -> str:
    return f"{number:,} shard{'' if number == 1 else 's'}"


def _stopped(started: Started, progress: Progress) -> str:
    return (
        f"stopped after {progress.done:,} of {progress.shards:,} shards; what is stored stays. Run the same command "
        f"again to go on, or: captioners generate {started.run.url}/recipe.yaml"
    )


def _summary(started: Started, progress: Progress, before: int) -> GenerateRun:
    run = GenerateRun(started.run.url, len(started.shards), started.frozen, progress, before=before)
    units: dict[tuple[str, int], Entry] = {}
    run.alarms = run_alarms(started.run.entries())
    for entry in started.run.entries():
        run.stored[entry.layer] = run.stored.get(entry.layer, Counts()) + entry.counts
        units.setdefault((entry.shard, entry.part), entry)  # what cannot be read, no member can
    for entry in units.values():
        for reason, number in entry.reasons.items():
            before_it, example = run.reasons.get(reason) or (0, _example(started.run, entry, reason))
            run.reasons[reason] = before_it + number, example
    counts = sum((entry.counts for entry in units.values()), Counts())
    faulty = {entry.shard for entry in units.values() if sum(entry.reasons.values()) > entry.counts.quarantined}
    shards = {entry.shard for entry in units.values()}
    run.quarantined = max(counts.quarantined / max(counts.read, 1), len(faulty) / max(len(shards), 1))
    return run


def _example(run: RunDir, entry: Entry, reason: str) -> str:
    records = map(json.loads, run.place.read(entry.quarantine_file).decode().splitlines())
    return next((str(record["error"]) for record in records if record["reason"] == reason), "")
