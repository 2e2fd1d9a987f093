"""From the runs on a command line to their caption sets."""

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from captioners.core.errors import UserError
from captioners.core.recipe import options_from
from captioners.core.run_dir import open_run
from captioners.data.caption_sets import CaptionSet, OpenSet, sets_of_run
from captioners.jobs.measure.cells import MeasureTable
from captioners.jobs.measure.table import measure_sets
from captioners.jobs.recipes.measure import MeasureOptions


def measure_runs(
    runs: Sequence[str], options: MeasureOptions, say: Callable[[str], None] = lambda _: None
) -> MeasureTable:
    """Return the table of every member of some runs, and of all members of each run together.

    A member that has not finished anything yet is told of and left out.

    Raises:
        NotFoundError: no such run. UserError, InterruptedRunError: as `measure_sets` does.
    """
    return measure_sets(sets_of_runs(runs, say), options, say)


def sets_of_runs(runs: Sequence[str], say: Callable[[str], None] = lambda _: None) -> list[CaptionSet]:
    """Return the caption sets of runs that have begun; of several runs, each set's name begins with its run's.

    Raises:
        UserError: two runs are called the same, or none has finished anything.
    """
    names = [PurePosixPath(open_run(run).url).name for run in runs]
    if len(set(names)) < len(names):
        raise UserError(f"two runs are called {max(names, key=names.count)}; measure runs of different names")
    found = []
    for run, name in zip(runs, names, strict=True):
        sets = sets_of_run(run)
        begun = [one for one in sets if next(OpenSet(one).groups(), None) is not None]
        for one in sets:
            if one not in begun:
                say(f"{run}, {one.name}: nothing is finished yet; left out")
        found += begun if len(runs) == 1 else [CaptionSet(f"{name}/{one.name}", one.parts) for one in begun]
    if not found:
        raise UserError(f"{', '.join(runs)}: nothing is finished by any member yet; measure it later")
    return found


def options_of(given: Sequence[str], **said: object) -> tuple[list[str], MeasureOptions]:
    """Return the runs among arguments, and the options of the rest (`seed=1`) and of what is said besides.

    Raises:
        RecipeError: all mistakes of the options at once.
    """
    changes = [one for one in given if "=" in one and not one.startswith(("/", "."))]
    runs = [one for one in given if one not in changes]
    if not runs:
        raise UserError(f"{' '.join(given)}: no run among them; say captioners measure RUN ...")
    return runs, options_from(MeasureOptions, said, changes, "captioners measure")
