"""Measure captions in Python: the table that `captioners measure` prints, as values."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from captioners.api.runs import Run

if TYPE_CHECKING:
    from captioners.jobs.measure.cells import MeasureTable


def measure(
    runs: str | Path | Run | Sequence[str | Path | Run],
    *,
    draws: int | None = None,
    references: str | None = None,
    clip: str | None = None,
    all_metrics: bool = False,
    common: bool = False,
    seed: int = 0,
    workers: int = 1,
) -> "MeasureTable":
    """Lay the caption sets of runs side by side: each member, and all members of a run together.

    Args:
        runs: one or several, by directory, by name under `runs/`, or as `run` returned them.
        draws: of each member the first so many captions of an image alone: what fewer draws would have given.
        references: what people wrote: a path, a source as in a recipe, or `own`, what came with the run's images.
        clip: a frozen judge of pictures and captions, such as `ViT-B-32/openai`.
        all_metrics: every metric, not the short table. common: measure the images that all sets have.
        seed: of the resamples that intervals rest on, and of which m captions stand for an image that has more, where a
            number is of the whole set. workers: processes.

    Raises:
        NotFoundError: no such run. UserError: sets of different images; a judge of its own cause; more draws asked for
            than a member has made.
    """
    from captioners.jobs.measure.quick import sets_of_runs
    from captioners.jobs.measure.table import measure_sets
    from captioners.jobs.recipes.measure import MeasureOptions

    several = [runs] if isinstance(runs, str | Path | Run) else runs
    names = [str(one.directory if isinstance(one, Run) else one) for one in several]
    options = MeasureOptions(
        references=references, clip=clip, all_metrics=all_metrics, common=common, seed=seed, workers=workers
    )
    sets = sets_of_runs(names)
    if draws is not None:
        sets = [replace(one, parts=tuple(replace(part, draws=draws) for part in one.parts)) for one in sets]
    return measure_sets(sets, options)
