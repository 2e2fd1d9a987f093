"""How fast a run gets on: its rate over the last hour, the time it still takes, and workers that lag behind."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from captioners.core import sums

if TYPE_CHECKING:
    import pyarrow as pa

WINDOW_S = 3600
_SPANS = 12
"""Parts of the window whose rates are compared for the interval."""
_SLOW = 0.5
_UNITS = 3
"""Units that a worker must have stored before it is called slow."""


@dataclass(frozen=True, kw_only=True)
class Slow:
    """A worker that makes less than half of what the middle one does."""

    worker: str
    images_per_second: float
    median: float


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Of all workers together, over the last hour of work."""

    samples_per_second: float
    """Each as often as a member read it."""
    workers: int
    """That stored something."""
    eta_s: float | None
    """Until every member has read every sample whose shard was counted; None if nothing is left or nobody knows."""
    eta_range_s: tuple[float, float] | None
    """95 % by how the rate varied; None with too little to go by."""
    slow: tuple[Slow, ...]


def pace(table: "pa.Table", left: int) -> Pace | None:
    """Return the pace of the last hour with work in it; None before there is any. `left`: samples, of all members."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(table) or not (latest := pc.max(table["finished"]).as_py()):
        return None
    ends = pc.cast(pa.chunked_array([pa.array([latest])]), pa.timestamp("s", "UTC"))[0].value
    first = np.datetime_as_string(np.datetime64(ends - WINDOW_S, "s"))
    recent = table.filter(pc.greater(table["finished"], f"{first}+00:00"))
    ended = np.asarray(pc.cast(recent["finished"], pa.timestamp("s", "UTC")).cast(pa.int64()))
    read, busy = sums.numbers(recent, "read"), _busy(recent)
    # The first unit began before it ended: its own time belongs to the window, too.
    began = int(min(ended - busy)) if len(ended) else ends
    seconds = max(float(ends - began), 1.0)
    rate = float(read.sum()) / seconds
    spans = np.bincount(np.minimum((ended - began) * _SPANS // math.ceil(seconds), _SPANS - 1), read, _SPANS)
    error = 1.96 * float(np.std(spans, ddof=1)) / math.sqrt(_SPANS) / (seconds / _SPANS)
    known = left > 0 and rate > 0
    return Pace(
        samples_per_second=rate,
        workers=len(set(recent["worker"].to_pylist())),
        eta_s=left / rate if known else None,
        eta_range_s=(left / (rate + error), left / (rate - error)) if known and error < rate else None,
        slow=tuple(_slow(recent, read, busy)),
    )


def _busy(table: "pa.Table") -> "sums.Array":
    """Return each unit's seconds."""
    import numpy as np

    seconds = sums.tally(table, "seconds")
    return np.bincount(seconds.rows, seconds.numbers, len(table))


def _slow(table: "pa.Table", read: "sums.Array", busy: "sums.Array") -> list[Slow]:
    import numpy as np

    worker, names = sums.codes(table, "worker")
    units, images, seconds = (np.bincount(worker, values, len(names)) for values in (np.ones(len(read)), read, busy))
    rates: Mapping[str, float] = {
        name: float(images[at] / seconds[at])
        for at, name in enumerate(names)
        if name and units[at] >= _UNITS and seconds[at] > 0
    }
    if len(rates) < 2:
        return []
    middle = median(rates.values())
    found = [Slow(worker=name, images_per_second=rate, median=middle) for name, rate in rates.items()]
    return sorted(
        (slow for slow in found if slow.images_per_second < _SLOW * middle), key=lambda s: s.images_per_second
    )
