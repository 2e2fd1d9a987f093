"""What a plan is made of: figures with an interval, a unit, and how each is known."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Known = Literal["counted", "measured", "modelled", "assumed"]
"""counted: of what is there; measured: on a machine; modelled: from these by a rule; assumed: nobody looked."""


@dataclass(frozen=True)
class Row:
    """One figure of a plan: a range, its unit, where it comes from and how it is known."""

    what: str
    low: float
    high: float
    unit: str = ""
    how: str = ""
    known: Known = "modelled"


@dataclass(frozen=True)
class Section:
    """Rows that belong together."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Plan:
    """What a recipe costs on some machines, and what that rests on."""

    recipe: str
    job: str
    fleet: str
    """On what, as a person writes it: `256 x a100-40`."""
    basis: str
    """What the hours rest on, in a few words: `modelled, not measured`."""
    sections: tuple[Section, ...]

    def row(self, what: str) -> Row:
        """Return the row of a name; raise KeyError if there is none."""
        for section in self.sections:
            for row in section.rows:
                if row.what == what:
                    return row
        raise KeyError(what)

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-able: an end that is not known is null."""
        found = asdict(self)
        for section in found["sections"]:
            for row in section["rows"]:
                row.update({end: None for end in ("low", "high") if math.isinf(row[end])})
        return found
