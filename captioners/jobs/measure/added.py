"""What each member adds to the others of its set, as cells of its own row: captions in effect, facts, words."""

from collections import Counter
from collections.abc import Sequence
from math import isnan, nan

from captioners.jobs.measure.cell import intervals
from captioners.jobs.measure.cells import Cell, Cells, undefined
from captioners.jobs.measure.gauge import column, ids_of
from captioners.jobs.measure.measured import Measured
from captioners.metrics.across_set import AcrossSet
from captioners.metrics.between import FACTS_ADDED, GAMMA_ADDED, MARGINAL_VOCABULARY, marginal_vocabulary
from captioners.metrics.intervals import Interval

ADDED = (GAMMA_ADDED, FACTS_ADDED, MARGINAL_VOCABULARY)


def added(measured: Measured, across: Sequence[AcrossSet | None], budget: int) -> list[Cells]:
    """Return each row's cells of what it adds to the set that it is a member of; none for a member of none.

    Args:
        across: the counts across each set, None where there are none. budget: words that vocabularies are taken at.
    """
    found: list[Cells] = [{} for _ in measured.opened]
    rows = {one.parts[0]: number for number, one in enumerate(measured.opened) if len(one.parts) == 1}
    times = Counter(part for one in measured.opened if len(one.parts) > 1 for part in one.parts)
    for number, one in enumerate(measured.opened):
        if len(one.parts) == 1:
            continue
        own = [rows.get(part) for part in one.parts]
        for place, (part, row) in enumerate(zip(one.parts, own, strict=True)):
            if row is not None and times[part] == 1:
                found[row] = _of_member(measured, number, place)
            elif row is not None:
                found[row] = dict.fromkeys(ADDED, undefined("a member of several sets"))
        words = _words(own, across, budget)
        for row in own:
            if row is not None:
                found[row].setdefault(MARGINAL_VOCABULARY, words[row])
    return found


def _of_member(measured: Measured, number: int, place: int) -> Cells:
    gauge, table = measured.members(number)
    shown = gauge.of_member(place)
    columns = {name: column(table, name) for one in shown for name in one.columns}
    values = intervals(shown, columns, ids_of(table), measured.options.seed)
    return {
        one.metric: undefined("undefined for every image")
        if isnan(values[one.metric.name].value)
        else Cell(interval=values[one.metric.name])
        for one in shown
    }


def _words(own: Sequence[int | None], across: Sequence[AcrossSet | None], budget: int) -> dict[int, Cell]:
    """Return the marginal vocabulary of each member by its row, where all are rows counted at the same m."""
    rows = [row for row in own if row is not None]
    known = {str(row): counts for row in rows if (counts := across[row]) is not None}
    if len(known) < len(own):
        why = "not all members are rows" if len(rows) < len(own) else "one caption an image, of some member"
        return dict.fromkeys(rows, undefined(why))
    words = marginal_vocabulary({row: counts.vocabulary(budget) for row, counts in known.items()})
    return {
        int(row): Cell(interval=Interval(float(words[row]), nan, nan, counts.images)) for row, counts in known.items()
    }
