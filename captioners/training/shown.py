"""What is shown of a run while it learns: a record, and how long the run is."""

from dataclasses import dataclass

from captioners.training.loop import Record


@dataclass(frozen=True)
class Shown:
    """One record of a run of `steps` steps."""

    record: Record
    steps: int
