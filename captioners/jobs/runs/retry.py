"""Read quarantined samples of a run again, and caption those that can be read by now; all other rows stay as they are.

A unit keeps its rows to the last bit and gets those that were missing, whatever the grade of its captioner. For an
exact one that is what a run without the fault would have stored.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from captioners.core import sums
from captioners.core.entry import Counts, Entry, Unit
from captioners.core.errors import InterruptedRunError, UserError, near
from captioners.core.failures import is_infrastructure, words
from captioners.core.progress import Clock
from captioners.core.run_dir import RunDir, open_run
from captioners.core.set_aside import clear_failed
from captioners.core.stopping import stoppable
from captioners.data.source import Sample, Shard, Source, Unreadable
from captioners.images.pool import DecodePool
from captioners.jobs.generate.alarms import OF_ROWS, marked, of_rows, repeated
from captioners.jobs.generate.loading import budget_of
from captioners.jobs.generate.provenance import environment_of, facts_of
from captioners.jobs.generate.stream import PassStream, Work
from captioners.jobs.generate.units import Part
from captioners.jobs.generate.worker import Setting, loaded_captioner
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.jobs.runs.remake import read_recipe_of
from captioners.jobs.runs.verify import verify
from captioners.kinds.captioner import Captioner


@dataclass
class Retried:
    """What came of it."""

    run: str
    samples: int = 0
    """Read again, counted for each member."""
    readable: int = 0
    """Of these, captioned by now, or filtered by a rule."""
    units: int = 0
    """Whose entry was replaced."""
    failed: int = 0
    """Shards set aside as failed that the next `generate` tries again."""
    damaged: int = 0
    """Units that `verify` finds damaged; the next `generate` makes them again."""
    still: dict[str, int] = field(default_factory=dict)
    """Reason, by now -> samples."""


def retry(
    given: str,
    reasons: Collection[str] = (),
    *,
    failed: bool = False,
    damaged: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Retried:
    """Try again what was quarantined for these reasons; open the shards set aside, the units found damaged.

    Raises:
        UserError: nothing to try, a reason that nothing has, or captioners that are not those of the layers any more.
        InterruptedRunError: stopped, or the machine failed; the same command continues.
    """
    run = open_run(given)
    found = Retried(run.url, failed=clear_failed(run) if failed else 0)
    if not reasons and not failed and not damaged:
        raise UserError(f"retry: what? --failed, --damaged, or --reason with one of: {_known(run)}")
    if damaged:
        units = verify(run, weights=False).damaged
        run.ledger.forget(units)
        found.damaged = len(units)
    if reasons:
        with stoppable():
            try:
                _reasons(run, set(reasons), found, say)
            except KeyboardInterrupt:
                raise InterruptedRunError("stopped; what was captioned stays: run the same command again") from None
            except Exception as error:
                if (reason := is_infrastructure(error)) is None or isinstance(error, UserError):
                    raise
                said = f"the machine failed, {reason} ({words(error)}); what was captioned stays"
                raise InterruptedRunError(f"{said}: run the same command again") from error
    return found


def _known(run: RunDir) -> str:
    lost = [f"{lost.reason} ({lost.count:,})" for lost in sums.quarantine(run.table())]
    return ", ".join(lost) or "none, for nothing is quarantined"


def _reasons(run: RunDir, reasons: set[str], found: Retried, say: Callable[[str], None]) -> None:
    recipe, layers = read_recipe_of(run), {layer.name: layer for layer in run.layers()}
    entries = {e.unit: e for e in run.entries() if reasons & set(e.reasons)}
    met = {reason for entry in entries.values() for reason in entry.reasons}
    for reason in sorted(reasons - met):
        raise UserError(f"nothing is quarantined as '{reason}'.{near(reason, met)} Here: {_known(run)}")
    units = {unit: _Again(run, entry, reasons) for unit, entry in entries.items()}
    units = {unit: again for unit, again in units.items() if again.wanted}
    if not units:
        raise UserError(
            f"{', '.join(sorted(reasons))}: a fault of whole shards; mend them, and caption them under another name"
        )
    size = run.settled()["unit_samples"]
    setting = Setting(recipe=recipe, run=run.url, unit_samples=size, layers=layers, passes=())
    for number, members in enumerate(recipe.groups):
        mine = {unit: again for unit, again in units.items() if unit[0] in {member.called for member in members}}
        if mine:
            say(f"{sum(len(again.wanted) for again in mine.values()):,} samples to read again")
            captioner = loaded_captioner(setting, number, 0)
            captioner.open(budget_of(recipe, captioner))
            _Stage(run, setting, captioner, mine, found).go(members)
            captioner.close()
    if others := sorted({unit[0] for unit in units} - {member.called for member in recipe.members}):
        say(f"left: member {', '.join(others)}, not in the run's last recipe")


class _Again:
    """A unit, and those of its samples that are read again."""

    def __init__(self, run: RunDir, entry: Entry, reasons: Collection[str]) -> None:
        self.entry = entry
        text = run.place.read(entry.quarantine_file).decode() if entry.quarantine_file else ""
        self.records: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
        self.wanted = {found["index"] for found in self.records if found["key"] and found["reason"] in reasons}


class _Stage:
    """The units of one captioner, and the stream that brings them together."""

    def __init__(
        self, run: RunDir, setting: Setting, captioner: Captioner, units: Mapping[Unit, _Again], found: Retried
    ) -> None:
        self.run, self.setting, self.captioner, self.units, self.found = run, setting, captioner, units, found
        self.recipe: GenerateRecipe = setting.recipe

    def go(self, members: tuple[Member, ...]) -> None:
        """Read and caption."""
        wanted: dict[str, set[int]] = {}
        for (_, shard, _), again in self.units.items():
            wanted.setdefault(shard, set()).update(again.wanted)
        shards = [Shard(**found) for found in self.run.inputs() if found["path"] in wanted]
        recipe = self.recipe
        decoders = 1 if recipe.decode_workers is None else recipe.decode_workers
        queue, fit = recipe.queue_mb * 10**6, self.captioner.fit
        pool = DecodePool(decoders, queue, recipe.decode_profile, recipe.max_pixels, fit)
        stream = PassStream(
            source=_Some(self.recipe.source.open(), wanted),
            pool=pool,
            ledger=self,  # type: ignore[arg-type]  # of a ledger, a stream asks only what is there
            store=self.store,
            recipe=self.recipe,
            unit_samples=self.setting.unit_samples,
            clock=Clock("decoding"),
        )
        with pool:
            for _ in stream.run([(self.captioner, members)], (Work(shard, lambda: None) for shard in shards)):
                pass

    def find(self, layer: str, shard: str, part: int) -> Entry | None:
        """Say that only the units to be tried again are missing."""
        if (layer, shard, part) in self.units:
            return None
        entry = self.run.ledger.find(layer, shard, part)
        beyond = max((unit[2] for unit in self.units if unit[1] == shard), default=-1) < part
        return replace(entry or next(iter(self.units.values())).entry, last=beyond)

    def store(self, part: Part, member: Member) -> None:
        """Put the rows that came among those that the unit has, and replace its entry."""
        again = self.units[member.called, part.shard.path, part.number]
        new = [row for row in part.rows[member.called] if row["index"] in again.wanted]
        came = {row["index"] for row in new}
        now = {record["index"]: record for record in part.quarantined if record["key"]}
        records = [_record(record, came, now) for record in again.records]
        left = [record for record in records if record is not None]
        self.found.samples += len(again.wanted)
        self.found.readable += len(came)
        for record in left:
            if record["index"] in again.wanted and record["key"]:
                self.found.still[record["reason"]] = self.found.still.get(record["reason"], 0) + 1
        if left == again.records:
            return
        old = self.run.rows(again.entry).to_pylist()
        rows = marked(sorted([*old, *new], key=lambda row: (row["index"], row["draw"])), self.recipe.rules)
        self._commit(again.entry, member, rows, left)
        self.found.units += 1

    def _commit(self, old: Entry, member: Member, rows: list[Any], left: list[dict[str, Any]]) -> None:
        kept = {row["index"] for row in rows if row["keep"]}
        samples = {row["index"] for row in rows}
        lost = sum(bool(record["key"]) for record in left)
        counts = Counts(
            read=old.counts.read,
            captioned=len(kept),
            filtered=len(samples) - len(kept),
            quarantined=lost,
            rows=len(rows),
        )
        layer = self.setting.layers[member.called]
        if problem := counts.problem(layer.draws):
            raise AssertionError(f"{old.shard}, part {old.part}: {problem}")
        others = [alarm for alarm in old.alarms if alarm["name"] not in OF_ROWS]
        entry = replace(
            old,
            counts=counts,
            reasons=dict(sorted(Counter(record["reason"] for record in left).items())),
            flags=dict(sorted(Counter(flag for row in rows for flag in row["flags"]).items())),
            alarms=[*others, *(alarm.record() for alarm in of_rows(member.called, old.shard, rows))],
            repeated=repeated(rows),
            kept=sum(row["keep"] for row in rows),
            environment=_environment(old.environment, environment_of(self.captioner)),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        facts = facts_of(layer, self.captioner)
        self.run.commit(entry, rows, facts, left, self.recipe.format, enter=self.run.ledger.replace)


def _record(record: dict[str, Any], came: Collection[int], now: Mapping[int, dict[str, Any]]) -> dict[str, Any] | None:
    """Return a quarantine record as it is by now; none where a caption came."""
    if not record["key"]:
        return record
    return None if record["index"] in came else now.get(record["index"], record)


def _environment(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return where a unit's rows were made: the first of them, and, where that is another machine, the later ones."""
    others = ", ".join(f"{name} {value}" for name, value in sorted(now.items()) if then.get(name) != value)
    return {**then, "retried": others} if others else dict(then)


@dataclass(frozen=True)
class _Some:
    """A source of which only some samples are wanted."""

    source: Source
    wanted: Mapping[str, Collection[int]]

    def shards(self, frozen: Any = ()) -> list[Shard]:
        """Return those of the source."""
        return self.source.shards(frozen)

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Yield the wanted ones."""
        return (
            found
            for found in self.source.samples(shard, start)
            if found.index in self.wanted[shard.path] and (isinstance(found, Sample) or found.key)
        )

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:
        """Return what the source does."""
        return self.source.image(shard, key, offset, size)
