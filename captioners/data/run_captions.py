"""A run's captions as they leave it: selected, joined with their scores, unit by unit, every sample accounted for.

No more than one unit is in memory, whatever the size of the run.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captioners.core.entry import Entry
from captioners.core.errors import UserError, near
from captioners.core.records import arrow_schema
from captioners.core.run_dir import RunDir
from captioners.core.run_units import RunUnits, Unit
from captioners.core.scores import ScoreAbout, ScoreLayer, command_for, score_layers
from captioners.data.selection import COLUMNS, FLAGS, Select, Selection

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, kw_only=True)
class SelectedUnit:
    """What was taken of a unit."""

    unit: Unit
    rows: "pyarrow.Table"
    """Columns of `RunCaptions.schema`, sorted by sample, member and draw."""
    left: Sequence[dict[str, Any]]
    """shard, key, index, reason and error of each sample left out, in order; of faults of the shard itself, too."""
    samples: Counter[str]
    """read = taken + excluded + too_few + quarantined."""
    captions: Counter[str]
    """rows = taken + refused + excluded + unmet + too_few + spare."""


class RunCaptions:
    """The captions of a run's finished units, through a `Select`."""

    def __init__(
        self,
        run: RunDir,
        select: Select,
        scores: Sequence[str] = (),
        *,
        computable: Collection[str] = (),
        lists: Sequence[tuple[Collection[str], int]] = (),
    ) -> None:
        """Read the ledger, and refuse what cannot be had before any caption is read.

        Args:
            scores: to join although the selection does not ask for them. computable: scores that `measure` knows, for
                messages.
            lists: members and how many captions of them (see `Selection`).

        Raises:
            UserError: no captions; a mistake in the selection; a score that is not computed, with the command.
        """
        self.run, self.select = run, select
        self.units = RunUnits(run)
        self._computable = computable
        self._layers = {
            layer.name: {one.name: one for one in score_layers(run.place, layer)} for layer in self.units.layers
        }
        members = list(self._layers)
        self._everywhere = everywhere = set.intersection(*(set(found) for found in self._layers.values()))
        flags = self.units.flags
        self.selection = Selection(select, members, everywhere, flags=flags, lists=lists, unknown=self._unknown)
        if missing := [name for name in scores if name not in everywhere]:
            raise UserError("\n  ".join(f"scores: {self._unknown(name)}" for name in missing))
        asked = self.selection.names - {*COLUMNS, *FLAGS, *flags}
        self.scores = sorted({*scores, *asked})
        """Those that are joined: columns of doubles."""
        self._all_there()

    @property
    def schema(self) -> "pyarrow.Schema":
        """The columns: those of a layer but `keep`, then the scores."""
        import pyarrow as pa

        fields = [one for one in arrow_schema() if one.name != "keep"]
        return pa.schema([*fields, *(pa.field(name, pa.float64()) for name in self.scores)])

    def score_about(self, name: str) -> ScoreAbout:
        """Return what a score that is joined is. Raises UserError if its file is damaged."""
        layer = next(iter(self._layers.values()))[name]
        about = layer.about()
        if about is None:
            raise UserError(f"score '{name}' of member '{layer.member}' is damaged; measure it again")
        return about

    def selected(self, start: int = 0, stop: int | None = None) -> Iterator[SelectedUnit]:
        """Yield what is taken of each unit, from unit number `start` on, to before number `stop`.

        Raises:
            UserError: a file of the run is gone or damaged, or its sums do not balance.
        """
        for unit in self.units.units(start, stop):
            yield self._selected(unit)

    def _selected(self, unit: Unit) -> SelectedUnit:
        import pyarrow as pa

        tables = []
        for member, entry in unit.entries.items():
            table = self.run.rows(entry).replace_schema_metadata(None)
            for name in self.scores:
                table = table.append_column(name, self._values(self._layers[member][name], entry, table.num_rows))
            tables.append(table)
        table = pa.concat_tables(tables)
        seen = set(table["index"].to_pylist())
        chosen = self.selection.choose(table)
        lost = [one for one in self._quarantined(unit) if not one["key"] or one["index"] not in seen]
        samples, captions = chosen.samples, chosen.captions
        samples["quarantined"] = sum(bool(one["key"]) for one in lost)
        samples["read"] = max(entry.counts.read for entry in unit.entries.values())
        captions["rows"] = sum(entry.counts.rows for entry in unit.entries.values())
        _check(samples, "read", unit)
        _check(captions, "rows", unit)
        left = sorted([*chosen.left, *lost], key=lambda one: (one["index"], one["key"]))
        return SelectedUnit(
            unit=unit, rows=chosen.rows.select(self.schema.names), left=left, samples=samples, captions=captions
        )

    def _values(self, layer: ScoreLayer, entry: Entry, rows: int) -> Any:
        import pyarrow as pa

        # A unit in which nothing could be captioned has no rows, and so no scores.
        return layer.read(entry) if rows else pa.array([], pa.float64())

    def _quarantined(self, unit: Unit) -> list[dict[str, Any]]:
        """Return the unit's quarantine records, once each: what one member could not read, all others met as well."""
        found: dict[tuple[int, str], dict[str, Any]] = {}
        for entry in unit.entries.values():
            text = self.run.place.read(entry.quarantine_file).decode() if entry.quarantine_file else ""
            for line in text.splitlines():
                record = json.loads(line)
                kept = {name: record[name] for name in ("shard", "key", "index", "reason", "error")}
                found.setdefault((record["index"], record["key"]), kept)
        return list(found.values())

    def _unknown(self, name: str) -> str:
        has = [member for member, found in self._layers.items() if name in found]
        lacks = [repr(member) for member in self._layers if member not in has]
        if has or name in self._computable:
            return (
                f"score '{name}' is not computed for member {', '.join(lacks)}; run: {command_for(self.run.url, name)}"
            )
        plain = f"no column, flag or score is named '{name}'"
        if near(name, [*COLUMNS, *FLAGS, *self.units.flags, *self._everywhere]):
            return plain  # which the near names are added to
        hint = near(name, self._computable)
        return f"{plain}{'.' if hint else ''}{hint}; scores are computed by: {command_for(self.run.url, 'NAME')}"

    def _all_there(self) -> None:
        """Refuse scores that were begun and not finished, before anything is written."""
        for member, found in self._layers.items():
            for name in self.scores:
                there = found[name].units()
                entries = (unit.entries[member] for unit in self.units.units())
                gaps = sum(1 for entry in entries if entry.file and found[name].unit_name(entry) not in there)
                if gaps:
                    todo = command_for(self.run.url, name)
                    said = f"lacks {gaps:,} of {len(self.units):,} units"
                    raise UserError(f"score '{name}' of member '{member}' {said}; run: {todo}")


def _check(sums: Counter[str], whole: str, unit: Unit) -> None:
    parts = sum(number for name, number in sums.items() if name != whole)
    if sums[whole] != parts:
        told = " + ".join(f"{name} {number:,}" for name, number in sums.items() if name != whole)
        where = f"shard {unit.shard}, part {unit.part}"
        raise UserError(f"{where}: {whole} {sums[whole]:,} is not {told}; `captioners verify` says more")
