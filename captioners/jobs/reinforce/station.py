"""What one worker process keeps while it lives: its log and its teachers."""

from collections.abc import Callable
from dataclasses import dataclass

from captioners.core.storage import Place
from captioners.core.worker_log import WorkerLog
from captioners.reinforcement.teachers import Ensemble


@dataclass
class Station:
    """Empty on its way to a worker process; filled there."""

    log: WorkerLog | None = None
    ensemble: Ensemble | None = None
    shards: int = 0
    """Stored so far."""

    def begin(self, run: str, rank: int, what: str) -> WorkerLog:
        """Return the log, begun at the first call."""
        if self.log is None:
            self.log = WorkerLog(Place(run), rank)
            self.log.note(f"began: {what}")
        return self.log

    def end(self, error: BaseException) -> None:
        """Log what ended the work."""
        if self.log is not None:
            self.log.ended(error, f"{self.shards:,} shards")

    def opened(self, load: Callable[[], Ensemble]) -> Ensemble:
        """Return the teachers, loaded at the first call."""
        if self.ensemble is None:
            self.ensemble = load()
        return self.ensemble
