"""One pass over shards as one stream: samples in, requests to its captioners, results into parts, refused draws again.

Shards follow each other without a gap, so that a short one never leaves the captioner half empty.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeVar

from captioners.core.errors import ImageError
from captioners.core.ledger import Ledger
from captioners.core.progress import Clock
from captioners.core.seeds import Stream
from captioners.data.source import Sample, Shard, Source, Unreadable
from captioners.images.pool import DecodePool
from captioners.jobs.generate.lanes import Flight, Lane
from captioners.jobs.generate.units import Part, Seen
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.kinds.captioner import Captioner, Request, Result
from captioners.text.flags import flags_of

T = TypeVar("T")

_MB = 10**6


@dataclass(frozen=True)
class _Item:
    part: Part
    sample: Sample


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
    """Feeds the captioners of a pass with the images of its shards, for all their members.

    Args:
        source: hands out samples.
        pool: decodes them.
        ledger: says which units are stored already.
        store: called with each unit that is whole.
        recipe: says seed and rules.
        unit_samples: samples of a part.
        clock: told what is waiting.
        enough: asked before each part; once it says yes, no further image enters, and what has entered is finished.
    """

    def __init__(
        self,
        *,
        source: Source,
        pool: DecodePool,
        ledger: Ledger,
        store: Callable[[Part, Member], None],
        recipe: GenerateRecipe,
        unit_samples: int,
        clock: Clock,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source, self._pool, self._ledger = source, pool, ledger
        self._store, self._recipe, self._unit_samples, self._clock = store, recipe, unit_samples, clock
        self._look_ahead, self._enough = recipe.queue_mb * _MB // 2, enough
        self._numbers = count()
        self._flights: dict[int, Flight] = {}
        self._members: list[Member] = []
        self._lanes: list[Lane] = []
        self._entering: Part | None = None
        self._ended = False
        """Whether no further image enters."""
        self.images = 0
        """Pictures that entered."""

    def run(self, captioners: Sequence[tuple[Captioner, Sequence[Member]]], shards: Iterator[Work]) -> Iterator[Result]:
        """Caption everything by each captioner's members; yields each result after it was taken, to tell of progress.

        Captioners pull from one stream. Whoever pulls finds the next picture put before all of them, and the one with
        most before it goes on next: so none falls behind by more than another takes at once.
        """
        self._members = [member for _, members in captioners for member in members]
        self._lanes = [Lane(captioner, members) for captioner, members in captioners]
        for encoding, number in Counter(lane.encoding for lane in self._lanes).items():
            for lane in self._lanes:
                lane.shares |= lane.encoding == encoding != "" and number > 1
        samples = self._samples(shards)
        self._decoded = self._pool.map(samples, lambda item: item.sample.image, lambda item: item.sample.name)
        try:
            while busy := [lane for lane in self._lanes if lane.has_work or not self._ended]:
                lane = max(busy, key=lambda lane: lane.ahead)
                result = lane.next_result(self._requests)
                if result is not None:
                    self._take(lane, result)
                    yield result
        finally:
            for lane in self._lanes:
                lane.close()
        if self._flights:
            raise AssertionError(f"{len(self._flights)} requests were not answered")

    def _requests(self, lane: Lane) -> Iterator[Request]:
        """Yield what a captioner has to do, as it asks; it ends when there is nothing, or others have to catch up."""
        while True:
            while lane.again:
                yield self._enter(lane.again.popleft())
            if lane.waiting:
                flight, encodings = lane.take()
                yield replace(self._enter(flight), encodings=encodings)
            elif not self._next_picture():
                return

    def _next_picture(self) -> bool:
        """Put the next picture before the captioners that lack it; False if there is none, or one has enough."""
        if self._ended or any(lane.ahead > self._look_ahead for lane in self._lanes):
            return False
        with self._clock.at("waiting"):
            found = next(self._decoded, None)
        if found is None or (found[0].part is not self._entering and self._enough()):
            self._ended = True
            return False
        item, picture = found
        self._entering = item.part
        if isinstance(picture, ImageError):
            item.part.no_picture(item.sample, picture.reason, str(picture))
            return True
        item.part.picture()
        self.images += 1
        seen, encodings = Seen.of(item.sample, picture), dict[str, Any]()
        fields = {**item.sample.meta, "key": item.sample.key, "captions": item.sample.captions}
        for lane in self._lanes:
            for member in lane.members:
                if not any(member is lacking for lacking in item.part.members):
                    continue
                request = Request(
                    index=next(self._numbers),
                    image=picture.image,  # one object for all members: a captioner encodes it once
                    stream=Stream(self._recipe.seed, picture.sha256, member.called),
                    draws=member.draws,
                    decoding=member.decoding,
                    prompt=member.prompt,
                    fields=fields,
                )
                lane.put(Flight(request, item.part, member, seen, member.draws), encodings if lane.shares else None)
        return True

    def _enter(self, flight: Flight) -> Request:
        self._flights[flight.request.index] = flight
        return flight.request

    def _take(self, lane: Lane, result: Result) -> None:
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
            lane.again.append(Flight(again, flight.part, member, flight.seen, 1))
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
