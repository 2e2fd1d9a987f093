"""Measure what is not measured yet, group by group, in this process or in several."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from captioners.data.caption_sets import CaptionSet, Group, OpenSet
from captioners.executors.local import run_tasks
from captioners.jobs.measure.gauge import Gauge, Shelf

_EVERY_S = 10.0
_FEW = 8
"""Groups that are not worth another process."""


@dataclass(frozen=True)
class Setting:
    """What workers are given: the gauges of each set."""

    sets: tuple[CaptionSet, ...]
    gauges: tuple[tuple[Gauge, ...], ...]


@dataclass(frozen=True)
class Task:
    """One group of one set, and which of its gauges it lacks."""

    number: int
    group: Group
    gauges: tuple[int, ...]


def measure_groups(
    setting: Setting,
    opened: Sequence[OpenSet],
    groups: Sequence[Sequence[Group]],
    workers: int,
    say: Callable[[str], None],
) -> None:
    """Measure every group by every gauge, but for what lies there already.

    Raises:
        InterruptedRunError: workers died again and again. UserError: as gauges do.
    """
    tasks = []
    for number, (one, gauges) in enumerate(zip(opened, setting.gauges, strict=True)):
        shelves = [Shelf(one, gauge) for gauge in gauges]
        there = [shelf.files() for shelf in shelves]
        for shelf in shelves:
            shelf.begin()
        for group in groups[number]:
            lacks = tuple(
                at
                for at, (gauge, shelf) in enumerate(zip(gauges, shelves, strict=True))
                if shelf.file(group) not in there[at]
                # What lacks pictures is looked for again by whoever can look.
                and not (getattr(gauge, "blind", False) and shelf.partial(group) in there[at])
            )
            if lacks:
                tasks.append(Task(number, group, lacks))
    done, told = 0, time.monotonic()

    def finished(_: Any) -> None:
        nonlocal done, told
        done += 1
        if time.monotonic() - told > _EVERY_S:
            told = time.monotonic()
            say(f"{done:,} of {len(tasks):,} groups measured")

    several = workers if len(tasks) >= _FEW else 1
    run_tasks(work, setting, tasks, workers=several, finished=finished, notice=say)


def work(
    setting: Setting,
    tasks: Iterator[Task],
    finished: Callable[[Any], None],
    tell: Callable[[Any], None],  # noqa: ARG001
    rank: int = 0,  # noqa: ARG001
) -> None:
    """Do tasks as a worker; see `captioners.executors.tasks.Work`."""
    opened = lru_cache(maxsize=None)(lambda number: OpenSet(setting.sets[number]))
    shelf = lru_cache(maxsize=None)(lambda number, at: Shelf(opened(number), setting.gauges[number][at]))
    for task in tasks:
        one = opened(task.number)
        images = one.read(task.group)
        for at in task.gauges:
            measured = setting.gauges[task.number][at].measure(images, one, task.group)
            shelf(task.number, at).write(task.group, measured)
        finished(task)
