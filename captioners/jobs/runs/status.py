"""How far a run is: done and left for each member, what was lost and why, where the time went; nothing is changed.

Only the ledger is read, and one quarantine file for each reason: a run of millions of units takes seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioners.core import sums
from captioners.core.alarms import placeholders
from captioners.core.entry import Counts
from captioners.core.layers import Layer
from captioners.core.run_dir import RunDir, open_run
from captioners.core.set_aside import Failed, failed_units
from captioners.jobs.runs.pace import Pace, pace

if TYPE_CHECKING:
    import pyarrow as pa

ORPHANS_UP_TO = 20_000
"""Units of a run up to which files that no entry names are counted; they are found by listing every file."""

SAFE_AGE_S = 24 * 3600.0
"""Files younger than this may belong to a worker that is about to enter them into the ledger."""

_ALARMS = 5


@dataclass(frozen=True, kw_only=True)
class MemberStatus:
    """One member over all frozen shards."""

    name: str
    draws: int
    shards_done: int
    units_done: int
    counts: Counts
    kept: int | None
    """Captions that no rule refused; None if entries of an older version, which do not say it, have flags."""
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
    failed: Sequence[Failed]
    """Shards that are set aside, for they kill workers."""
    alarms: Sequence[Mapping[str, Any]]
    """The first of them, each with its layer and shard."""
    alarms_count: int
    orphans: int | None
    """Files that no ledger entry names; None in a run of so many units that they are not looked for."""
    drafts: int
    """Files that are being written, or that a killed worker left half written; not looked for in object stores."""
    seconds: Mapping[str, float]
    """waiting, encoding, decoding, writing -> seconds, of all workers and members: those of a pass share their time."""
    images_per_second: float | None
    """Of one worker, an image counted once for members that share a captioner; None before the first unit."""
    captions_per_second: float | None
    """Of one worker."""
    pace: Pace | None
    """Of all workers of the last hour with work in it."""
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
    import pyarrow.compute as pc

    run = open_run(given)
    table, inputs = run.table(), run.inputs()
    whole = sums.whole_shards(table)
    sizes = _sizes(inputs, whole)
    known = [size for size in sizes.values() if size is not None]
    members = _members(run.layers(), table, whole, sizes)
    seconds = sums.tally(table, "seconds").sums()
    spent = sum(seconds.values())
    small = len(table) <= ORPHANS_UP_TO
    over_all = placeholders(table)
    return Status(
        run=run.url,
        shards=len(sizes),
        samples=sum(known) if len(known) == len(sizes) else None,
        members=members,
        quarantine=[
            Lost(reason=lost.reason, count=lost.count, example=run.example(lost.unit, lost.reason))
            for lost in sums.quarantine(table)
        ],
        failed=failed_units(run),
        alarms=[*({"layer": alarm.member, **alarm.record()} for alarm in over_all), *_alarms(run, table)],
        alarms_count=int(sums.numbers(table, "alarms").sum()) + len(over_all),
        orphans=len(run.orphans()) if small else None,
        drafts=sum(1 for _ in run.place.local.rglob(".*.part")) if run.place.local and small else 0,
        seconds=seconds,
        images_per_second=_images(run, members) / spent if spent else None,
        captions_per_second=sum(member.counts.rows for member in members) / spent if spent else None,
        pace=pace(table, sum(member.left for member in members)),
        finished=pc.max(table["finished"]).as_py() or "",
        files={
            **(
                {"captions": f"{run.place.at('layers')}/MEMBER/"}
                if run.job == "generate"
                else {"shards": run.place.at("shards")}
            ),
            "quarantine": f"{run.place.at('quarantine')}/MEMBER/",
            "recipe": run.place.at("recipe.yaml"),
        },
    )


def clear_orphans(given: str, age_s: float = SAFE_AGE_S) -> int:
    """Remove files that no entry names, and half-written ones, if they are older than `age_s`; return how many.

    In an object store, which keeps no age that we ask for, only with `age_s` 0: then no worker may be at work.
    """
    run = open_run(given)
    before = datetime.now(UTC) - timedelta(seconds=age_s)
    names = run.orphans()
    if run.place.local is not None:
        names += [str(path.relative_to(run.place.local)) for path in run.place.local.rglob(".*.part")]
    old = [name for name in names if age_s <= 0 or _older(run, name, before)]
    for name in old:
        run.place.remove(name)
    return len(old)


def _older(run: RunDir, name: str, before: datetime) -> bool:
    if run.place.local is None:
        return False
    try:
        return Path(run.place.at(name)).stat().st_mtime < before.timestamp()
    except FileNotFoundError:
        return False


def _sizes(inputs: Sequence[Mapping[str, Any]], whole: sums.Whole) -> dict[str, int | None]:
    """Return each frozen shard's number of samples: as frozen, or as a member found that read it to its end."""
    sizes: dict[str, int | None] = {shard["path"]: shard.get("count") for shard in inputs}
    sizes.update({shard: int(whole.sizes[at]) for shard, at in whole.shards.items() if whole.sizes[at] >= 0})
    return sizes


def _members(
    layers: Sequence[Layer], table: "pa.Table", whole: sums.Whole, sizes: Mapping[str, int | None]
) -> list[MemberStatus]:
    import numpy as np

    codes, names = sums.codes(table, "layer")
    rows = {name: at for at, name in enumerate(names)}
    counts, kept, flags = sums.by_layer(table), _kept(table, codes, names), sums.tally(table, "flags")
    flagged, units = flags.by(codes, len(names)), np.bincount(codes, minlength=len(names))
    place = np.array([whole.shards.get(shard, -1) for shard in sizes], dtype=np.int64)
    size = np.array([-1 if samples is None else samples for samples in sizes.values()], dtype=np.int64)
    found = []
    for layer in layers:
        row = rows.get(layer.name)
        known = (place >= 0) & (row is not None)
        done = known & whole.done[row or 0][place]
        read = np.where(known, whole.samples[row or 0][place], 0)
        found.append(
            MemberStatus(
                name=layer.name,
                draws=layer.draws,
                shards_done=int(done.sum()),
                units_done=int(units[row]) if row is not None else 0,
                counts=counts.get(layer.name, Counts()),
                kept=kept[row] if row is not None else 0,
                left=int((size - read)[~done & (size >= 0)].sum()),
                unknown_shards=int((~done & (size < 0)).sum()),
                flags={flag: int(count) for flag, count in (flagged[row] if row is not None else {}).items()},
            )
        )
    return found


def _kept(table: "pa.Table", codes: "sums.Array", names: Sequence[str]) -> list[int | None]:
    """Sum each layer's captions that stay. Only rows with a flag are ever refused: a unit without flags keeps all."""
    import numpy as np

    silent = np.asarray(table["kept"].is_null())
    flagged = np.bincount(sums.tally(table, "flags").rows, minlength=len(table)) > 0
    unknown = set(np.unique(codes[silent & flagged]).tolist())
    kept = np.where(silent, sums.numbers(table, "rows"), sums.numbers(table, "kept"))
    return [None if at in unknown else int(total) for at, total in enumerate(np.bincount(codes, kept, len(names)))]


def _images(run: RunDir, members: Sequence[MemberStatus]) -> int:
    """Count images once for all members of the same captioner, which read and encode them together."""
    read = {member.name: member.counts.read for member in members}
    together: dict[str, int] = {}
    for layer in run.layers():
        captioner = repr([layer.meaning.get(name) for name in ("weights", "context_length", "dtype", "exact")])
        together[captioner] = max(together.get(captioner, 0), read.get(layer.name, 0))
    return sum(together.values())


def _alarms(run: RunDir, table: "pa.Table") -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    units = table.filter(pc.greater(table["alarms"], 0)).slice(0, _ALARMS).select(["layer", "shard", "part"])
    found = (run.ledger.find(unit["layer"], unit["shard"], unit["part"]) for unit in units.to_pylist())
    return [
        {"layer": entry.layer, "shard": entry.shard, **alarm}
        for entry in found
        if entry is not None
        for alarm in entry.alarms
    ][:_ALARMS]
