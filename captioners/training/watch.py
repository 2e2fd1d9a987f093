"""When a loss has gone wrong: it is no number, or it explodes."""

import math
import statistics
from collections.abc import Mapping
from typing import Any

_WINDOW = 100
"""Steps whose median is what a loss is held against."""
_LEAST = 20
"""Steps before which there is no such median."""
_FACTOR = 3.0
_PATIENCE = 3
"""Steps in a row: one odd batch is no explosion."""


class LossWatch:
    """Told every step's loss, says what is wrong with it.

    A loss explodes when it is above 3 x the median of the last 100 steps and above the run's first one, three steps in
    a row. (Held against the median alone, a run that memorises its data, whose loss is all but 0, would stop for
    nothing.)

    >>> watch = LossWatch()
    >>> [watch.see(loss, 1.0) for loss in [9.0] + [2.0] * 20 + [7.0, 30.0, 31.0]][-1]
    >>> watch.is_suspicious
    True
    >>> watch.see(32.0, 1.0)
    'explodes: 32, against a median of 2 over the last 22 steps'
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self._first: float | None = state.get("first")
        self._recent: list[float] = list(state.get("recent", ()))
        self._high = int(state.get("high", 0))

    @property
    def is_suspicious(self) -> bool:
        """Whether the last step's loss was high: the weights may be spoilt, and are not worth a checkpoint."""
        return self._high > 0

    def see(self, loss: float, gradient: float) -> str | None:
        """Return what is wrong with a step's loss or the norm of its gradient, None if nothing is."""
        if not math.isfinite(loss):
            return "is no number"
        if not math.isfinite(gradient):
            return "has a gradient that is no number"
        self._first = loss if self._first is None else self._first
        if len(self._recent) >= _LEAST:
            median = statistics.median(self._recent)
            if loss > _FACTOR * median and loss > self._first:
                self._high += 1
                if self._high < _PATIENCE:
                    return None
                return f"explodes: {loss:.4g}, against a median of {median:.4g} over the last {len(self._recent)} steps"
        self._high = 0
        self._recent = [*self._recent[1 - _WINDOW :], loss]
        return None

    def state(self) -> dict[str, Any]:
        """Return what a continued run must know, JSON-able."""
        return {"first": self._first, "recent": self._recent, "high": self._high}
