"""Measure caption sets side by side: at equal numbers of captions, on the same images, each number with its interval.

What is measured of each image lies in the run, so a second call is quick, and a run that went on has little to do.
"""

from collections.abc import Callable, Sequence

from captioners.data.caption_sets import CaptionSet
from captioners.jobs.measure.cells import Cell, MeasureOptions, MeasureRow, MeasureTable

__all__ = ["Cell", "MeasureOptions", "MeasureRow", "MeasureTable", "measure_sets"]


def measure_sets(
    sets: Sequence[CaptionSet], options: MeasureOptions, say: Callable[[str], None] = lambda _: None
) -> MeasureTable:
    """Return the table of these sets.

    Args:
        sets: each a row. options: what is measured. say: told how far it is.

    Raises:
        UserError: sets of different images (it counts the shared ones; `common` takes those), a judge that has the
            image tower of a captioner it would judge, references or a judge that cannot be had.
        InterruptedRunError: stopped; what is measured stays, and the same call goes on.
    """
    raise NotImplementedError
