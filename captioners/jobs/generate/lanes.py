"""One captioner among those of a pass: what waits for it, what it shares, and how it is driven without a thread."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from captioners.jobs.generate.units import Part, Seen
from captioners.jobs.recipes.generate import Member
from captioners.kinds.captioner import Captioner, Needs, Request, Result


@dataclass
class Flight:
    """A request in the captioner."""

    request: Request
    part: Part
    member: Member
    seen: Seen
    left: int
    """Draws still to come."""


class Lane:
    """One captioner of a pass, and what is before it."""

    def __init__(self, captioner: Captioner, members: Sequence[Member]) -> None:
        self.members = members
        need: Needs | None = getattr(captioner, "needs", None)
        self.encoding = need.encoding if need else ""
        self.shares = False
        """Whether another captioner of the pass can use its image encodings."""
        self.waiting: deque[tuple[Flight, dict[str, Any] | None]] = deque()
        self.ahead = 0
        """Bytes of the pictures that wait."""
        self.again: deque[Flight] = deque()
        """Draws that were refused."""
        self._captioner = captioner
        self._results: Iterator[Result] | None = None

    @property
    def has_work(self) -> bool:
        """Whether anything waits for it or is in it."""
        return bool(self.waiting or self.again or self._results)

    def put(self, flight: Flight, encodings: dict[str, Any] | None) -> None:
        """Let a request wait."""
        self.waiting.append((flight, encodings))
        self.ahead += _size(flight)

    def take(self) -> tuple[Flight, dict[str, Any] | None]:
        """Return the request that waited longest."""
        flight, encodings = self.waiting.popleft()
        self.ahead -= _size(flight)
        return flight, encodings

    def next_result(self, requests: "Callable[[Lane], Iterator[Request]]") -> Result | None:
        """Let it work until its next result; None: it has taken all there was for now."""
        self._results = self._results or self._captioner.caption(requests(self))
        result = next(self._results, None)
        if result is None:
            self._results = None
        return result

    def close(self) -> None:
        """Give up what is in it."""
        close: Callable[[], None] | None = getattr(self._results, "close", None)
        if close is not None:
            close()


def _size(flight: Flight) -> int:
    return 3 * flight.request.image.width * flight.request.image.height
