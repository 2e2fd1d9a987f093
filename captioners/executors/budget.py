"""How much work a run may cost, in hours of its workers or in money: counted from the ledger, whoever worked.

A worker asks before it begins a unit. What others have in hand then is in no sum yet, so a run may end above its
budget, by no more than the unit that each worker was at.
"""

import time
from typing import Protocol

from captioners.core.entry import Entry
from captioners.core.errors import InterruptedRunError
from captioners.core.ledger import Ledger
from captioners.core.sums import tally

_HOUR = 3600.0
_PATIENCE = 10.0
"""Reading the ledger may take a tenth of the time: it is read again after so many times what it took."""


class Limits(Protocol):
    """What a recipe says of it."""

    @property
    def max_hours(self) -> float | None:
        """Of all workers together."""

    @property
    def max_cost(self) -> float | None:
        """In the currency of `price`."""

    @property
    def price(self) -> float:
        """Of an hour of work; 0 if none is said."""


class Budget:
    """The `max_hours` and `max_cost` of a recipe over one run's ledger; neither: no budget, and nothing is read."""

    def __init__(self, recipe: Limits, ledger: Ledger) -> None:
        self._recipe, self._ledger = recipe, ledger
        self._seconds = self._own = 0.0
        self._again = 0.0
        """When, by the monotonic clock, the ledger is read again."""

    def stored(self, entry: Entry) -> None:
        """Count a unit that this worker stored, until the ledger is read again."""
        self._own += sum(entry.seconds.values())

    def problem(self, unstored: float = 0.0) -> str | None:
        """Say why no unit may begin any more, or None; `unstored`: seconds spent by this worker since it stored one."""
        recipe = self._recipe
        if recipe.max_hours is None and recipe.max_cost is None:
            return None
        hours = (self._spent() + unstored) / _HOUR
        if recipe.max_hours is not None and hours >= recipe.max_hours:
            return _line("max_hours", f"{hours:,.2f} of {recipe.max_hours:,g} hours")
        if recipe.max_cost is not None and hours * recipe.price >= recipe.max_cost:
            return _line("max_cost", f"{hours * recipe.price:,.2f} of {recipe.max_cost:,g} ({hours:,.2f} hours)")
        return None

    def check(self) -> None:
        """Raise InterruptedRunError if no unit may begin any more."""
        if said := self.problem():
            raise InterruptedRunError(said)

    def _spent(self) -> float:
        begun = time.monotonic()
        if begun >= self._again:
            self._seconds, self._own = sum(tally(self._ledger.table(), "seconds").sums().values()), 0.0
            ended = time.monotonic()
            self._again = ended + _PATIENCE * (ended - begun)
        return self._seconds + self._own


def _line(key: str, spent: str) -> str:
    return f"stopped at {key}: {spent} are spent; what is stored stays. To go on, raise {key} in the same command"
