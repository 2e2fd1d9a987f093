"""Caption shards with an ensemble, never losing or repeating a caption: what is stored stays, the rest is done.

The same command resumes: a pilot, then the rest; more shards; one more member; other workers or batches.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from captioners.core.errors import InterruptedRunError
from captioners.core.ledger import Counts
from captioners.core.progress import Progress
from captioners.core.stopping import stoppable
from captioners.executors.local import run_tasks
from captioners.jobs.generate_recipe import GenerateRecipe
from captioners.jobs.generate_setup import Started, finished_shards, start
from captioners.jobs.generate_watch import Watch
from captioners.jobs.generate_worker import Setting, Task, work


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

    @property
    def quarantined_share(self) -> float:
        """Share of samples that could not be read."""
        read = max((counts.read for counts in self.stored.values()), default=0)
        bad = max((counts.quarantined for counts in self.stored.values()), default=0)
        return bad / read if read else float(bool(self.reasons))


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
    left = "nothing is left to do" if not tasks else f"{len(tasks):,} shards to caption"
    if len(recipe.passes) > 1 and tasks:
        left += f" in {len(recipe.passes)} passes"
    return f"{started.run.url}: {len(started.shards):,} shards{pilot}, {members}; {left}{stored}"


def _stopped(started: Started, progress: Progress) -> str:
    return (
        f"stopped after {progress.done:,} of {progress.shards:,} shards; what is stored stays. Run the same command "
        f"again to go on, or: captioners generate {started.run.url}/recipe.yaml"
    )


def _summary(started: Started, progress: Progress, before: int) -> GenerateRun:
    run = GenerateRun(started.run.url, len(started.shards), started.frozen, progress, before=before)
    for entry in started.run.entries():
        run.stored[entry.layer] = run.stored.get(entry.layer, Counts()) + entry.counts
    for record in started.run.quarantine():
        number, example = run.reasons.get(record["reason"], (0, record["error"]))
        run.reasons[record["reason"]] = number + 1, example
    return run
