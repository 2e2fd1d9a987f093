"""The section of a plan that `--simulate` adds: the same job, with failures and stragglers, simulated twice.

Once with the low ends of what is assumed, and once with the high ends; each is one draw of chance, of a fixed seed.
"""

from collections.abc import Iterator
from functools import partial
from math import ceil

from captioners.jobs.plan.captioning import Work
from captioners.jobs.plan.pace import encodes_of
from captioners.jobs.plan.rows import Row
from captioners.jobs.plan.simulate import Outcome, Task, exponential, simulate, speeds

_DAY, _HOUR, _MINUTE = 86_400.0, 3600.0, 60.0
_LEASE_S = 60.0
"""After which another worker takes what a dead one had."""
_MOST_TASKS = 400_000
"""Tasks that are simulated one by one; more are put together, so many to a task, with as many more units."""


def simulated_rows(work: Work) -> Iterator[Row]:
    """Yield what became of the simulated job."""
    good, bad = (_run(work, end) for end in (0, 1))
    assumed = work.assumed
    rate = assumed["failures_per_worker_day"]
    how = f"{rate.low:g} .. {rate.high:g} failures of a worker a day"
    yield _hours("makespan", good.makespan, bad.makespan, f"{work.workers.count:,} workers; {how}")
    yield _hours("lost work", good.lost, bad.lost, "of all workers: units begun and not committed")
    yield Row("failures", good.failures, bad.failures, "", "of workers, before the end")
    wastes = sorted((good.waste, bad.waste))
    yield Row("wasted", 100 * wastes[0], 100 * wastes[1], "%", "of the workers' time: lost, away, or idle at the end")
    slow = assumed["straggler_share"], assumed["straggler_factor"]
    how = f"{slow[0].low:.0%} .. {slow[0].high:.0%} of the workers, {slow[1].low:g} .. {slow[1].high:g} times as slow"
    alone = [_run(work, end, stragglers=False).makespan for end in (0, 1)]
    yield _hours("of it by stragglers", max(0, good.makespan - alone[0]), max(0, bad.makespan - alone[1]), how)


def _hours(what: str, low: float, high: float, how: str) -> Row:
    return Row(what, min(low, high) / _HOUR, max(low, high) / _HOUR, "h", how)


def _run(work: Work, end: int, *, stragglers: bool = True) -> Outcome:
    assumed = {name: (row.low, row.high)[end] for name, row in work.assumed.items()}
    slow = (assumed["straggler_share"], assumed["straggler_factor"]) if stragglers else (0.0, 1.0)
    mean = _DAY / assumed["failures_per_worker_day"]
    return simulate(
        _tasks(work, end),
        speeds(work.workers.count, *slow),
        partial(exponential, mean, work.recipe.seed),
        back_after=_MINUTE * assumed["minutes_to_return"],
        lease=_LEASE_S,
    )


def _tasks(work: Work, end: int) -> Iterator[Task]:
    """Yield the shards of every pass, pass after pass."""
    pace, left = work.pace(), work.amount.left(end)
    shards = ceil((work.amount.shards.low, work.amount.shards.high)[end])
    passes = encodes_of(work.calibration, work.recipe)
    together = ceil(shards * len(passes) / _MOST_TASKS)
    for encodes in passes:
        voices = [number for served in encodes for number in served]
        images = max(left[number] for number in voices) / max(shards, 1)
        seconds = sum(left[number] * pace.each[number][end] for number in voices) / max(shards, 1)
        units = max(1, ceil(images / work.recipe.unit_samples))
        for first in range(0, shards, together):
            many = min(together, shards - first) * units
            yield Task(many, seconds / units)
