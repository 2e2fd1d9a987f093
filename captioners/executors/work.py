"""What a worker of a run over shards is given, and what it tells: tasks, counts, stored units."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from captioners.core.entry import Entry


class Shard(Protocol):
    """A shard, as far as handing it out needs to know."""

    @property
    def path(self) -> str:
        """Its name, unique in the run."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def count(self) -> int | None:
        """Samples, if they are known."""


S = TypeVar("S", bound=Shard)


@dataclass(frozen=True)
class Task(Generic[S]):
    """A shard for the layers of a pass."""

    number: int
    """Which pass."""
    shard: S
    alone: bool = False
    """Whether it may have killed a worker, and so is tried with no other beside it."""


@dataclass
class Tally:
    """What a worker did since it last told: counts, and seconds by activity."""

    images: int = 0
    captions: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """A unit that a worker finished."""

    entry: Entry
    quarantined: tuple[Mapping[str, Any], ...] = ()
    """The first of its quarantine records."""
