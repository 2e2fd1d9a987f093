"""One pass over shards as one stream: samples in, requests to the captioner, results into parts, refused draws again.

Shards follow each other without a gap, so that a short one never leaves the captioner half empty.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeVar

from captioners.core.errors import ImageError
from captioners.core.ledger import Ledger
from captioners.core.progress import Clock
from captioners.core.seeds import Stream
from captioners.data.source import Sample, Shard, Source, Unreadable
from captioners.images.pool import DecodePool
from captioners.jobs.generate.units import Part, Seen
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.kinds.captioner import Captioner, Request, Result
from captioners.text.flags import flags_of

T = TypeVar("T")


@dataclass(frozen=True)
class _Item:
    part: Part
    sample: Sample


@dataclass
class _Flight:
    """A request in the captioner."""

    request: Request
    part: Part
    member: Member
    seen: Seen
    left: int
    """Draws still to come."""


@dataclass
class Work:
    """A shard that is being captioned: done when it was read to its end and all its units are stored."""

    shard: Shard
    done: Callable[[], None]
    units: int = 1
    """Units still to be stored; one more until the shard was read to its end."""

    def settle(self) -> None:
        """One of them is."""
        self.units -= 1
        if not self.units:
            self.done()


class PassStream:
    """Feeds one captioner with the images of `shards`, for all members of its pass.

    Args:
        members: of this pass.
        source: hands out samples.
        pool: decodes them.
        ledger: says which units are stored already.
        store: called with each unit that is whole.
        recipe: says seed and rules.
        unit_samples: samples of a part.
        clock: told what is waiting.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        source: Source,
        pool: DecodePool,
        ledger: Ledger,
        store: Callable[[Part, Member], None],
        recipe: GenerateRecipe,
        unit_samples: int,
        clock: Clock,
    ) -> None:
        self._members, self._source, self._pool, self._ledger = members, source, pool, ledger
        self._store, self._recipe, self._unit_samples, self._clock = store, recipe, unit_samples, clock
        self._numbers = count()
        self._flights: dict[int, _Flight] = {}
        self._again: deque[_Flight] = deque()
        self.images = 0
        """Pictures that entered."""

    def run(self, captioner: Captioner, shards: Iterator[Work]) -> Iterator[Result]:
        """Caption everything; yields each result after it was taken, so that a caller can tell of progress."""
        for result in captioner.caption(self._requests(shards)):
            self._take(result)
            yield result
        while self._again:  # draws refused after the last image had entered
            for result in captioner.caption(self._refused()):
                self._take(result)
                yield result
        if self._flights:
            raise AssertionError(f"{len(self._flights)} requests were not answered")

    def _requests(self, shards: Iterator[Work]) -> Iterator[Request]:
        decoded = self._pool.map(self._samples(shards), lambda item: item.sample.image, lambda item: item.sample.name)
        while True:
            yield from self._refused()
            with self._clock.at("waiting"):
                found = next(decoded, None)
            if found is None:
                return
            item, picture = found
            if isinstance(picture, ImageError):
                item.part.no_picture(item.sample, picture.reason, str(picture))
                continue
            item.part.picture()
            self.images += 1
            seen = Seen.of(item.sample, picture)
            for member in item.part.members:
                request = Request(
                    index=next(self._numbers),
                    image=picture.image,  # one object for all members: it is encoded once
                    stream=Stream(self._recipe.seed, picture.sha256, member.called),
                    draws=member.draws,
                    decoding=member.decoding,
                    prompt=member.prompt,
                    fields={**item.sample.meta, "key": item.sample.key, "captions": item.sample.captions},
                )
                yield self._enter(_Flight(request, item.part, member, seen, member.draws))

    def _refused(self) -> Iterator[Request]:
        while self._again:
            yield self._enter(self._again.popleft())

    def _enter(self, flight: _Flight) -> Request:
        self._flights[flight.request.index] = flight
        return flight.request

    def _take(self, result: Result) -> None:
        flight = self._flights[result.index]
        flight.left -= 1
        if not flight.left:
            del self._flights[result.index]
        request, member = flight.request, flight.member
        rules = self._recipe.rules
        flags = flags_of(result.text, result.raw_text, result.finish, rules.scripts)
        failed = result.finish == "error"
        if member.redraws and not failed and rules.again(flags, request.attempt):
            again = replace(
                request, index=next(self._numbers), draws=1, first_draw=result.draw, attempt=request.attempt + 1
            )
            self._again.append(_Flight(again, flight.part, member, flight.seen, 1))
            return
        flight.part.caption(member, flight.seen, result, request.attempt, not (failed or rules.refused(flags)), flags)

    def _samples(self, shards: Iterator[Work]) -> Iterator[_Item]:
        for work in shards:
            yield from self._shard(work)
            work.settle()

    def _shard(self, work: Work) -> Iterator[_Item]:
        """Yield the samples of all parts that some member lacks; parts that nobody lacks are not read."""

        def whole(part: Part, member: Member) -> None:
            self._store(part, member)
            work.settle()

        stream: _Peekable[Sample | Unreadable] | None = None
        for number in count():
            stored = {m.called: self._ledger.find(m.called, work.shard.path, number) for m in self._members}
            missing = [member for member in self._members if stored[member.called] is None]
            if not missing:
                if any(entry is not None and entry.last for entry in stored.values()):
                    return
                stream = None
                continue
            start = number * self._unit_samples
            stream = stream or _Peekable(self._source.samples(work.shard, start))
            work.units += len(missing)
            part = Part(work.shard, number, start, missing, whole, self._recipe.rules)
            yield from self._part(part, stream)
            if part.last:
                return

    def _part(self, part: Part, stream: "_Peekable[Sample | Unreadable]") -> Iterator[_Item]:
        while (found := stream.peek()) is not None:
            if isinstance(found, Unreadable):
                if found.key and found.index >= part.start + self._unit_samples:
                    break
                part.unreadable(found)
                stream.skip()
                continue
            if found.index >= part.start + self._unit_samples:
                break
            part.hand_out(found)
            stream.skip()
            yield _Item(part, found)
        part.close(last=stream.peek() is None)


class _Peekable(Iterator[T]):
    """An iterator whose next element can be looked at."""

    def __init__(self, source: Iterator[T]) -> None:
        self._source = source
        self._next: list[T] = []

    def __next__(self) -> T:
        return self._next.pop() if self._next else next(self._source)

    def peek(self) -> T | None:
        """Return the next element and leave it, or None at the end."""
        if not self._next:
            self._next.extend(found for found in [next(self._source, None)] if found is not None)
        return self._next[0] if self._next else None

    def skip(self) -> None:
        """Take the element that was looked at."""
        next(self)
