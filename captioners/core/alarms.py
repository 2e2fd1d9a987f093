"""Alarms: what needs a look in a run though every rule was kept; they stand in ledger entries, or follow from them."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from captioners.core import sums
from captioners.core.frequent import Frequent

if TYPE_CHECKING:
    import pyarrow as pa

SHARE, FEWEST = 0.01, 20
"""One file that makes such a share of a run's pictures, at least so many, stands in for pictures that are gone."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One alarm."""

    name: str
    """same_caption, nothing_kept, blind or placeholder."""
    member: str
    shard: str
    text: str
    """One line for people."""
    share: float
    """Of the pictures looked at."""

    def record(self) -> dict[str, Any]:
        """Return it as a ledger entry keeps it."""
        return asdict(self)


def placeholders(table: "pa.Table") -> list[Alarm]:
    """Return an alarm for each picture that is there over and over in all of a run, by its ledger's table."""
    once = sums.one_layer_each(table)  # every member sees the same pictures
    seen = Frequent()
    seen.add({}, int((sums.numbers(once, "read") - sums.numbers(once, "quarantined")).sum()))
    found = sums.tally(once, "repeated")
    for code, count in zip(found.codes, found.numbers, strict=True):
        seen.add({found.words[code]: int(count)}, 0)
    return [_placeholder(sha256, count, seen.total) for sha256, count in seen.above(SHARE, FEWEST)]


def _placeholder(sha256: str, count: int, total: int) -> Alarm:
    text = (
        f"the same file is {count:,} of {total:,} pictures ({count / total:.1%}; sha256 {sha256}): does it stand in "
        "for missing ones? `rules.placeholder: drop` leaves such pictures out"
    )
    return Alarm(name="placeholder", member="all members", shard="all shards", text=text, share=count / total)
