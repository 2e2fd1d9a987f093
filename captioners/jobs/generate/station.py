"""What one worker process keeps while it lives: its open captioners, its run, its log, what it looked at and when."""

from collections.abc import Callable
from dataclasses import dataclass, field

from captioners.core.alarms import Alarm
from captioners.core.run_dir import RunDir
from captioners.core.storage import Place
from captioners.core.worker_log import WorkerLog
from captioners.kinds.captioner import Captioner


@dataclass
class Station:
    """Empty on its way to a worker process; filled there."""

    log: WorkerLog | None = None
    units: int = 0
    """Stored so far."""
    alarms: dict[str, list[Alarm]] = field(default_factory=dict)
    """Member -> what the entry of its next unit is to say."""
    judged: set[int] = field(default_factory=set)
    """Passes of which it is known whether their captioners are blind."""
    _runs: dict[str, RunDir] = field(default_factory=dict)
    _open: dict[int, list[Captioner]] = field(default_factory=dict)
    """The pass whose captioners are open."""
    _looked: tuple[int, int] | None = None
    """At which pass and round the canary was looked at."""

    @property
    def worker(self) -> str:
        """The name of this process."""
        return self.log.worker if self.log is not None else ""

    def begin(self, run: str, rank: int, what: str) -> WorkerLog:
        """Return the log, begun at the first call."""
        if self.log is None:
            self.log = WorkerLog(Place(run), rank)
            self.log.note(f"began: {what}")
        return self.log

    def run_dir(self, url: str) -> RunDir:
        """Return a run, the same for all streams of this process: its ledger's segments are read once."""
        if url not in self._runs:
            self._runs[url] = RunDir(url)
        return self._runs[url]

    def end(self, error: BaseException) -> None:
        """Log what ended the work."""
        if self.log is not None:
            self.log.ended(error, f"{self.units:,} units")

    def captioners(self, number: int, load: Callable[[], list[Captioner]]) -> list[Captioner]:
        """Return the captioners of a pass, open; those of another pass are closed first."""
        if number not in self._open:
            self.close()
            self._open[number] = load()
        return self._open[number]

    def close(self) -> None:
        """Close the captioners that are open."""
        while self._open:
            for captioner in self._open.popitem()[1]:
                captioner.close()

    def stored(self) -> None:
        """Count a unit."""
        self.units += 1

    def round(self, every: int) -> int:
        """Return how often the canary was due."""
        return self.units // every if every else 0

    def canary_due(self, number: int, every: int) -> bool:
        """Whether the canary is to be looked at now: once for each pass, then every so many units."""
        now = number, self.round(every)
        due = bool(every) and now != self._looked
        self._looked = now
        return due
