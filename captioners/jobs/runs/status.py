"""How far a run is: done and left for each member, what was lost and why, where the time went; nothing is changed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from captioners.core.alarms import Alarm, run_alarms
from captioners.core.errors import UserError
from captioners.core.layers import Layer
from captioners.core.ledger import Counts, Entry
from captioners.core.run_dir import RunDir, is_complete, open_run


@dataclass(frozen=True, kw_only=True)
class MemberStatus:
    """One member over all frozen shards."""

    name: str
    draws: int
    shards_done: int
    units_done: int
    counts: Counts
    kept: int | None
    """Captions that no rule refused; None if a file of captions cannot be read, which `verify` explains."""
    left: int
    """Samples still to read in the shards whose size is known."""
    unknown_shards: int
    """Unfinished shards of which nobody has counted the samples."""
    flags: Mapping[str, int]
    """Flag -> rows."""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A reason for quarantine."""

    reason: str
    count: int
    """Samples (or shards), each counted once though several members met it."""
    example: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """A run at this moment."""

    run: str
    shards: int
    samples: int | None
    """Of all frozen shards; None as long as one of them was not counted."""
    members: Sequence[MemberStatus]
    quarantine: Sequence[Lost]
    alarms: Sequence[Alarm]
    orphans: int
    """Files that no ledger entry names."""
    drafts: int
    """Files that are being written, or that a killed worker left half written; not looked for in object stores."""
    seconds: Mapping[str, float]
    """waiting, encoding, decoding, writing -> seconds, of all workers and members: those of a pass share their time."""
    images_per_second: float | None
    """Of one worker, an image counted once for members that share a captioner; None before the first unit."""
    captions_per_second: float | None
    """Of one worker."""
    finished: str
    """When the last unit was stored, UTC."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What -> where."""

    @property
    def done(self) -> bool:
        """Whether every member has read every frozen shard."""
        return bool(self.members) and all(member.shards_done == self.shards for member in self.members)


def status(given: str) -> Status:
    """Return how far a run is, by its ledger, its layers and its frozen inputs.

    Raises:
        NotFoundError: no such run. UserError: one of its files is damaged; says which.
    """
    run = open_run(given)
    entries = list(run.entries())
    sizes = _sizes(run.inputs(), entries)
    known = [size for size in sizes.values() if size is not None]
    members = [_member(run, layer, [e for e in entries if e.layer == layer.name], sizes) for layer in run.layers()]
    seconds: Counter[str] = Counter()
    for entry in entries:
        seconds.update(entry.seconds)
    spent = sum(seconds.values())
    return Status(
        run=run.url,
        shards=len(sizes),
        samples=sum(known) if len(known) == len(sizes) else None,
        members=members,
        quarantine=_lost(run),
        alarms=run_alarms(entries),
        orphans=len(run.orphans()),
        drafts=sum(1 for _ in run.place.local.rglob(".*.part")) if run.place.local else 0,
        seconds=dict(seconds.most_common()),
        images_per_second=_images(run, members) / spent if spent else None,
        captions_per_second=sum(member.counts.rows for member in members) / spent if spent else None,
        finished=max((entry.finished for entry in entries), default=""),
        files={
            "captions": f"{run.place.at('layers')}/MEMBER/",
            "quarantine": f"{run.place.at('quarantine')}/MEMBER/",
            "recipe": run.place.at("recipe.yaml"),
        },
    )


def _sizes(inputs: Sequence[Mapping[str, Any]], entries: Sequence[Entry]) -> dict[str, int | None]:
    """Return each frozen shard's number of samples: as frozen, or as a member found that read it to its end."""
    sizes: dict[str, int | None] = {shard["path"]: shard.get("count") for shard in inputs}
    sizes.update({entry.shard: entry.stop for entry in entries if entry.last})
    return sizes


def _member(run: RunDir, layer: Layer, entries: Sequence[Entry], sizes: Mapping[str, int | None]) -> MemberStatus:
    parts: dict[str, list[Entry]] = {}
    for entry in entries:
        parts.setdefault(entry.shard, []).append(entry)
    done = {shard for shard, found in parts.items() if is_complete(found)}
    counts = sum((entry.counts for entry in entries), Counts())
    open_shards = [shard for shard in sizes if shard not in done]
    left = [
        size - sum(entry.stop - entry.start for entry in parts.get(shard, ()))
        for shard in open_shards
        if (size := sizes[shard]) is not None
    ]
    return MemberStatus(
        name=layer.name,
        draws=layer.draws,
        shards_done=len(done),
        units_done=len(entries),
        counts=counts,
        kept=_kept(run, entries),
        left=sum(left),
        unknown_shards=sum(sizes[shard] is None for shard in open_shards),
        flags=dict(sum((Counter(entry.flags) for entry in entries), Counter[str]()).most_common()),
    )


def _images(run: RunDir, members: Sequence[MemberStatus]) -> int:
    """Count images once for all members of the same captioner, which read and encode them together."""
    read = {member.name: member.counts.read for member in members}
    together: dict[str, int] = {}
    for layer in run.layers():
        captioner = repr([layer.meaning.get(name) for name in ("weights", "context_length", "dtype", "exact")])
        together[captioner] = max(together.get(captioner, 0), read.get(layer.name, 0))
    return sum(together.values())


def _kept(run: RunDir, entries: Sequence[Entry]) -> int | None:
    """Count the captions that stay. Only rows with a flag are ever refused, so a unit without flags is not read."""
    kept = 0
    for entry in entries:
        try:
            kept += run.rows(entry)["keep"].to_pylist().count(True) if entry.flags else entry.counts.rows
        except UserError:
            return None
    return kept


def _lost(run: RunDir) -> list[Lost]:
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for record in run.quarantine():
        counts[record["reason"]] += 1
        examples.setdefault(record["reason"], record["error"])
    return [Lost(reason=reason, count=count, example=examples[reason]) for reason, count in counts.most_common()]
