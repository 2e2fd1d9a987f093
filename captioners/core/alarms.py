"""Alarms: what needs a look in a run although every rule was kept; they stand in ledger entries, or follow from them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from captioners.core.frequent import Frequent
from captioners.core.ledger import Entry

PLACEHOLDER_SHARE, FEWEST_PLACEHOLDERS = 0.01, 20
"""One file that makes such a share of a run's pictures, at least so many, stands in for pictures that are gone."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One alarm."""

    name: str
    """same_caption, blind or placeholder."""
    member: str
    """Empty where it is about the pictures."""
    shard: str
    """Empty where it is about the whole run."""
    text: str
    """One line for people."""
    share: float
    """Of the pictures looked at."""

    def record(self) -> dict[str, Any]:
        """Return it as a ledger entry keeps it."""
        return asdict(self)


def run_alarms(entries: Iterable[Entry]) -> list[Alarm]:
    """Return the alarms in the entries of a run, and one for each picture that is there over and over in all of it.

    But for the alarms themselves, memory does not grow with the run.
    """
    found: list[Alarm] = []
    layers: dict[str, Frequent] = {}
    for entry in entries:
        found += [Alarm(**alarm) for alarm in entry.alarms]
        seen = layers.setdefault(entry.layer, Frequent())
        seen.add(entry.repeated, entry.counts.read - entry.counts.quarantined)
    # All members see the same pictures; one has seen the most so far.
    pictures = max(layers.values(), key=lambda seen: seen.total, default=Frequent())
    for sha256, count in pictures.above(PLACEHOLDER_SHARE, FEWEST_PLACEHOLDERS):
        share = count / pictures.total
        text = (
            f"the same file is {count:,} of {pictures.total:,} pictures ({share:.1%}; sha256 {sha256}): "
            "does it stand in for missing ones? `rules.placeholder: drop` leaves such pictures out"
        )
        found.append(Alarm(name="placeholder", member="", shard="", text=text, share=share))
    return found
