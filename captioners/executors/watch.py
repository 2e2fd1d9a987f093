"""What the parent of the workers keeps an eye on: how far they are, and whether too much cannot be read."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from captioners.core.entry import Counts, Entry
from captioners.core.errors import NeedsLookError
from captioners.core.progress import Progress
from captioners.executors.work import Shard, Stored, Tally, Task

WINDOW = 50
"""Shards that the quarantine ceiling looks at: those finished last."""


@dataclass
class _Read:
    """What reading a shard gave, by the entries of one layer."""

    parts: int = 0
    last: int | None = None
    counts: Counts = field(default_factory=Counts)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        self.parts += 1
        self.last = entry.part if entry.last else self.last
        self.counts += entry.counts
        self.reasons.update(entry.reasons)

    @property
    def whole(self) -> bool:
        return self.last is not None and self.parts == self.last + 1

    @property
    def faulty(self) -> bool:
        """Whether the shard itself had a fault, such as a cut: how many samples it cost, nobody knows."""
        return sum(self.reasons.values()) > self.counts.quarantined


class Watch:
    """Listens to the workers of one start.

    Args:
        tasks: of this start. entries: what was stored before it.
        ceiling: share of samples, or of shards with a fault, that may be quarantined among the last `WINDOW` shards.
        show: called with the progress.
    """

    def __init__(
        self,
        tasks: Sequence[Task[Any]],
        entries: Iterable[Entry] = (),
        ceiling: float = 1.0,
        show: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._ceiling, self._show = ceiling, show
        self._read: dict[tuple[str, str], _Read] = {}
        self._counted: set[str] = set()
        self._window: deque[_Read] = deque(maxlen=WINDOW)
        self._examples: dict[str, str] = {}
        for entry in sorted(entries, key=lambda entry: entry.finished):
            self._add(entry)
        self._images = _images(tasks)
        self._weight = weights(task.shard for task in tasks)
        self.progress = Progress(len(tasks))

    def __call__(self, message: Any) -> None:
        """Take what a worker tells.

        Raises:
            NeedsLookError: the ceiling is passed.
        """
        progress = self.progress
        if isinstance(message, Tally):
            progress.images += message.images
            progress.captions += message.captions
            for name, seconds in message.seconds.items():
                progress.seconds[name] = progress.seconds.get(name, 0.0) + seconds
            if self._images:
                progress.fraction = max(progress.fraction, min(1.0, progress.images / self._images))
            self._show(progress)
        elif isinstance(message, Stored):
            progress.quarantined += message.entry.counts.quarantined
            for record in message.quarantined:
                self._examples.setdefault(record["reason"], record["error"])
            if self._add(message.entry):
                self._look()

    def finished(self, task: Task[Any]) -> None:
        """Count a task that is done."""
        self.progress.done += 1
        if not self._images:
            self.progress.fraction = min(1.0, self.progress.fraction + self._weight[task.shard.path])
        self._show(self.progress)

    def _add(self, entry: Entry) -> bool:
        """Count an entry, and say whether it completes a shard that was not counted yet."""
        read = self._read.setdefault((entry.layer, entry.shard), _Read())
        read.add(entry)
        if not read.whole:
            return False
        del self._read[entry.layer, entry.shard]
        if entry.shard in self._counted:
            return False
        self._counted.add(entry.shard)
        self._window.append(read)
        return True

    def _look(self) -> None:
        if len(self._window) < WINDOW:
            return
        counts = sum((read.counts for read in self._window), Counts())
        samples = counts.quarantined / counts.read if counts.read else 0.0
        shards = sum(read.faulty for read in self._window) / len(self._window)
        if max(samples, shards) <= self._ceiling:
            return
        reasons = sum((read.reasons for read in self._window), Counter[str]())
        reason, number = reasons.most_common(1)[0]
        what = f"{samples:.0%} of samples" if samples > self._ceiling else f"{shards:.0%} of shards have a fault and"
        example = f", such as {self._examples[reason]}" if reason in self._examples else ""
        raise NeedsLookError(
            f"stopped: of the last {WINDOW} shards {what} could not be read, over the ceiling of {self._ceiling:.0%}: "
            f"{reason} ({number:,}){example}. What is stored stays; to go on all the same, raise quarantine_ceiling"
        )


def _images(tasks: Sequence[Task[Any]]) -> int:
    """Return the images that the tasks will read, or 0 if that is not known."""
    counts = [task.shard.count for task in tasks]
    return sum(count or 0 for count in counts) if all(count is not None for count in counts) else 0


def weights(shards: Iterable[Shard]) -> dict[str, float]:
    """Return each shard's share of the work: by bytes where all have some, else all alike."""
    listed = list(shards)
    known = all(shard.size for shard in listed)
    sizes = [shard.size if known else 1 for shard in listed]
    whole = sum(sizes) or 1
    return {shard.path: size / whole for shard, size in zip(listed, sizes, strict=True)}
