"""One part of one shard while it is worked on: what was read, which captions came, and when it is whole."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from captioners.core.entry import Counts, Entry
from captioners.core.errors import InterruptedRunError
from captioners.core.records import Row
from captioners.data.source import Sample, Shard, Unreadable
from captioners.images.decode import Picture
from captioners.jobs.generate.alarms import marked, of_rows, repeated
from captioners.jobs.recipes.generate import Member
from captioners.kinds.captioner import Result
from captioners.text.flags import Flag, Rules


@dataclass(frozen=True)
class Seen:
    """What a row says of its sample; the image's bytes are gone by then."""

    shard: str
    key: str
    index: int
    image_sha256: str
    offset: int | None
    size: int

    @classmethod
    def of(cls, sample: Sample, picture: Picture) -> "Seen":
        """Return what is kept of a sample."""
        return cls(sample.shard, sample.key, sample.index, picture.sha256, sample.offset, len(sample.image))


@dataclass
class Part:
    """Consecutive samples of a shard, and their captions by the members that have not captioned them yet."""

    shard: Shard
    number: int
    start: int
    members: Sequence[Member]
    whole: Callable[["Part", Member], None]
    """Called once for each member, when its last caption has come."""
    rules: Rules = field(default_factory=Rules)
    stop: int = 0
    last: bool = False
    read: int = 0
    good: int = 0
    """Samples that became pictures."""
    undecided: int = 0
    """Samples that were handed out to be decoded and have not come back."""
    closed: bool = False
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    faults: int = 0
    """Quarantine records of the shard itself."""
    rows: dict[str, list[Row]] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.stop = self.start
        self.rows = {member.called: [] for member in self.members}

    def hand_out(self, sample: Sample) -> None:
        """Count a sample that goes to be decoded."""
        self.read += 1
        self.undecided += 1
        self.stop = sample.index + 1

    def picture(self) -> None:
        """Count a sample that has become a picture; its captions follow."""
        self.undecided -= 1
        self.good += 1

    def no_picture(self, sample: Sample, reason: str, error: str) -> None:
        """Note a sample that could not be decoded.

        Raises:
            InterruptedRunError: this installation lacks a codec; the picture may be a good one.
        """
        if reason == "missing_codec":
            raise InterruptedRunError(f"{error}; then run the same command again: what is stored stays")
        self.undecided -= 1
        self._note(sample.key, sample.index, reason, error, sample.offset)
        self._look()

    def unreadable(self, found: Unreadable) -> None:
        """Note what the source could not hand out: a sample, or the rest of the shard."""
        if found.key:
            self.read += 1
            self.stop = found.index + 1
        else:
            self.faults += 1
        self._note(found.key, found.index, found.reason, found.error, found.offset)

    def close(self, last: bool) -> None:
        """End the part, and with `last` its shard: no further sample belongs to it."""
        self.closed, self.last = True, last
        self._look()

    def caption(self, member: Member, seen: Seen, result: Result, attempt: int, keep: bool, flags: list[Flag]) -> None:
        """Take a caption that is final."""
        self.rows[member.called].append(
            Row(
                shard=seen.shard,
                key=seen.key,
                index=seen.index,
                image_sha256=seen.image_sha256,
                offset=seen.offset,
                size=seen.size,
                member=member.called,
                draw=result.draw,
                attempt=attempt,
                keep=keep,
                text=result.text,
                raw_text=result.raw_text,
                num_tokens=result.num_tokens,
                logprob=result.logprob,
                finish=result.finish,
                flags=list(flags),
            )
        )
        self._look()

    def entry(self, member: Member, fingerprint: str) -> tuple[Entry, list[Row]]:
        """Return the ledger entry of a member's unit, its files still to be named, and its rows in order."""
        rows = marked(sorted(self.rows[member.called], key=lambda row: (row["index"], row["draw"])), self.rules)
        kept = {row["index"] for row in rows if row["keep"]}
        counts = Counts(
            read=self.read,
            captioned=len(kept),
            filtered=self.good - len(kept),
            quarantined=len(self.quarantined) - self.faults,
            rows=len(rows),
        )
        problem = counts.problem(member.draws)
        if problem or len({(row["index"], row["draw"]) for row in rows}) != len(rows):
            raise AssertionError(f"{self.shard.path}, part {self.number}: {problem or 'a caption twice'}")
        entry = Entry(
            layer=member.called,
            fingerprint=fingerprint,
            shard=self.shard.path,
            part=self.number,
            start=self.start,
            stop=self.stop,
            last=self.last,
            counts=counts,
            file="",
            digest="",
            reasons=_counted(record["reason"] for record in self.quarantined),
            flags=_counted(flag for row in rows for flag in row["flags"]),
            alarms=[alarm.record() for alarm in of_rows(member.called, self.shard.path, rows)],
            repeated=repeated(rows),
        )
        return entry, rows

    def _note(self, key: str, index: int, reason: str, error: str, offset: int | None) -> None:
        self.quarantined.append(
            {"shard": self.shard.path, "key": key, "index": index, "reason": reason, "error": error, "offset": offset}
        )

    def _look(self) -> None:
        """Tell which members are done with it."""
        if not self.closed or self.undecided:
            return
        for member in self.members:
            name = member.called
            if name not in self._told and len(self.rows[name]) == self.good * member.draws:
                self._told.add(name)
                self.whole(self, member)


def _counted(things: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(things).items()))
