"""How far a job is: what its workers did and how they spent their time, as a live line or as plain log lines."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


class Clock:
    """Shares out a worker's time: each moment belongs to the innermost activity, or to `rest`.

    >>> clock = Clock("decoding")
    >>> with clock.at("waiting"):
    ...     pass
    >>> sorted(clock.lap())
    ['decoding', 'waiting']
    """

    def __init__(self, rest: str) -> None:
        self._doing = rest
        self._since = time.perf_counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def at(self, activity: str) -> Iterator[None]:
        """Count what is inside as `activity`."""
        before = self._doing
        self._switch(activity)
        try:
            yield
        finally:
            self._switch(before)

    def move(self, seconds: float, activity: str) -> None:
        """Count seconds of the present activity, measured elsewhere, as another's."""
        self._seconds[activity] += seconds
        self._seconds[self._doing] -= seconds

    def lap(self) -> dict[str, float]:
        """Return the seconds since the last lap, by activity."""
        self._switch(self._doing)
        seconds, self._seconds = dict(self._seconds), defaultdict(float)
        return seconds

    def _switch(self, activity: str) -> None:
        now = time.perf_counter()
        self._seconds[self._doing] += now - self._since
        self._doing, self._since = activity, now


@dataclass
class Progress:
    """Where a job stands."""

    shards: int
    """To do in this start, each as often as a pass needs it."""
    done: int = 0
    images: int = 0
    captions: int = 0
    quarantined: int = 0
    fraction: float = 0.0
    """Of the work of this start, by samples or bytes."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Workers' seconds by activity."""
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def line(self) -> str:
        """Return it in one line: rates, time left, and how the workers spent their time."""
        spent = max(self.elapsed, 1e-9)
        whole = sum(self.seconds.values()) or 1.0
        shares = ", ".join(f"{name} {part / whole:.0%}" for name, part in sorted(self.seconds.items()))
        left = spent / self.fraction - spent if self.fraction > 0 else None
        parts = [
            f"{self.done} of {self.shards} shards",
            f"{self.images / spent:.1f} images/s",
            f"{self.captions / spent:.1f} captions/s",
            f"ETA {clock_time(left)}",
            f"{self.quarantined} quarantined",
        ]
        return "  ".join([*parts, *([shares] if shares else [])])


def clock_time(seconds: float | None) -> str:
    """Return seconds as H:MM:SS.

    >>> clock_time(3725.4), clock_time(None)
    ('1:02:05', '-')
    """
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class Display:
    """Shows progress on stderr: a live line on a terminal, otherwise a log line every `every_s` seconds.

    A context manager, so that the terminal is left as it was.
    """

    def __init__(self, every_s: float = 10.0) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._every_s = every_s
        self._last = time.monotonic()
        self._live: Any = None
        self._task: Any = None

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, progress: Progress) -> None:
        """Show where the job stands."""
        if self._console.is_terminal:
            self._bar(progress)
        elif time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            self._console.print(progress.line(), soft_wrap=True, highlight=False)

    def _bar(self, progress: Progress) -> None:
        if self._live is None:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Live

            self._live = Live(BarColumn(20), TextColumn("{task.description}"), console=self._console, transient=True)
            self._live.start()
            self._task = self._live.add_task("", total=1.0)
        self._live.update(self._task, completed=progress.fraction, description=progress.line())
