"""What captioning was measured to take, from a run's ledger: seconds by unit, lengths and bytes of captions; as JSON.

Seconds are a worker's, as its ledger entries share them out (waiting, encoding, decoding, writing). They are kept unit
by unit, so that whoever reads a calibration can tell how far they vary: a figure is a ratio of sums (seconds over
images), its interval the bootstrap over units.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from captioners.core.entry import Entry
from captioners.core.errors import NotFoundError, UserError
from captioners.core.records import Format, to_bytes
from captioners.core.run_dir import RunDir
from captioners.decoding.values import Beam
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.metrics import intervals

VERSION = 1
_FILES = 20
"""Layer files that are opened to learn of captions' lengths and bytes."""
Range = tuple[float, float]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UnitTime(_Part):
    """A part of a shard by all members of one captioner."""

    images: int
    seconds: dict[str, float]


class LayerFigures(_Part):
    """What one member's captions were."""

    member: str
    how: dict[str, Any]
    """Its decoding and prompt: what it has to be equal in to be the same work."""
    draws: int
    lengths: dict[int, int]
    """Tokens of a caption -> how many were so long."""
    caption_bytes: Range
    """Of a stored caption: the marginal one of a file, and the file's average."""
    entry_bytes: float
    """Of a ledger entry."""

    def steps(self, cap: int | None = None) -> float:
        """Return the decoding steps of a caption on average, its end counted; `cap` ends captions at so many tokens."""
        number = sum(self.lengths.values())
        return sum(count * (min(length, cap or length) + 1) for length, count in self.lengths.items()) / max(number, 1)


class Voice(_Part):
    """One captioner, and its members."""

    loads: str
    """What tells it from other captioners, as JSON: its name or kind, context, precision, exactness."""
    units: tuple[UnitTime, ...]
    layers: tuple[LayerFigures, ...]

    def only(self, activity: str) -> dict[str, float]:
        """Return the weights that leave nothing but one activity."""
        return {name: float(name == activity) for unit in self.units for name in unit.seconds}

    def seconds(self, weights: Mapping[str, float]) -> Range:
        """Return the seconds of an image, and their interval, by activity weighed; what is not named counts once.

        With fewer than two units there is no interval, and both ends are the value.
        """
        spent = [sum(s * weights.get(name, 1.0) for name, s in unit.seconds.items()) for unit in self.units]
        found = intervals.ratio(spent, [unit.images for unit in self.units])
        if isnan(found.low):
            return found.value, found.value
        return max(0.0, found.low), found.high


class Reading(_Part):
    """What it took to get samples from where the recipe has them."""

    samples: int
    stored_bytes: Range
    """Of a sample as it is stored, with its interval over samples."""
    seconds: float
    packaged: bool = False
    """Whether the package's own photos stood in, because the recipe's were not there."""


class Calibration(_Part):
    """What was measured on one machine."""

    version: int = VERSION
    device: str
    """As the driver calls the GPU; of a CPU, its architecture and cores."""
    on_gpu: bool
    workers: int = 1
    """Processes that shared the machine."""
    environment: dict[str, str] = {}
    voices: tuple[Voice, ...]
    encodes: tuple[tuple[tuple[int, ...], ...], ...] = ()
    """Pass by pass, the voices of each image encode; empty: not known, what they share is in their times."""
    reading: Reading | None = None


def rows_of(member: Member) -> int:
    """Return how many rows an image has in the engine: its draws, or a beam's width."""
    return member.decoding.width if isinstance(member.decoding, Beam) else member.draws


def how_of(member: Member) -> dict[str, Any]:
    """Return what two members have to be equal in for one's measured times to hold for the other, but for draws."""
    return {"decoding": member.decoding.model_dump(mode="json"), "prompt": member.prompt}


def measured_by(run: RunDir, recipe: GenerateRecipe) -> Calibration:
    """Return what a run's own ledger tells of its recipe; raises as `voices_of` does."""
    voices = voices_of(run, recipe)
    environment = next(iter(run.entries())).environment
    return calibration_of(voices, environment, workers=recipe.workers)


def calibration_of(voices: Sequence[Voice], environment: Mapping[str, str], workers: int = 1) -> Calibration:
    """Return what was measured in one environment, as a ledger's entries tell it."""
    device = environment.get("device", "an unknown machine")
    return Calibration(
        device=device,
        on_gpu="NVIDIA" in device,
        workers=workers,
        environment=dict(environment),
        voices=tuple(voices),
    )


def voices_of(run: RunDir, recipe: GenerateRecipe) -> tuple[Voice, ...]:
    """Return what a run's ledger tells of the recipe's captioners, in the order of its groups.

    Raises:
        UserError: a captioner has no finished unit yet; a damaged entry or file.
    """
    entries: dict[str, list[Entry]] = {}
    for entry in run.entries():
        entries.setdefault(entry.layer, []).append(entry)
    found = []
    for members in recipe.groups:
        done = [entry for member in members for entry in entries.get(member.called, [])]
        if not any(entry.counts.read and entry.seconds for entry in done):
            raise UserError(
                f"{run.url}: {members[0].called} has no finished unit yet, so nothing is known of its times"
            )
        figures = tuple(
            _figures(run, member, entries[member.called], recipe.format)
            for member in members
            if member.called in entries
        )
        found.append(Voice(loads=loads_of(members[0]), units=_units(done), layers=figures))
    return tuple(found)


def loads_of(member: Member) -> str:
    """Return what two members have to be equal in to share a loaded captioner, as JSON."""
    return json.dumps(member.loads)


def _units(entries: Iterable[Entry]) -> tuple[UnitTime, ...]:
    """Return the units' times; members of one captioner are timed together, whoever of them was stored first."""
    seconds: dict[tuple[str, int], Counter[str]] = {}
    images: dict[tuple[str, int], int] = {}
    for entry in entries:
        unit = entry.shard, entry.part
        seconds.setdefault(unit, Counter()).update(entry.seconds)
        images[unit] = max(images.get(unit, 0), entry.counts.read)
    return tuple(UnitTime(images=images[unit], seconds=dict(spent)) for unit, spent in sorted(seconds.items()))


def _figures(run: RunDir, member: Member, entries: Sequence[Entry], form: Format) -> LayerFigures:
    chosen = entries[:: max(1, len(entries) // _FILES)][:_FILES]
    rows = [row for entry in chosen for row in run.rows(entry).to_pylist()]
    sizes = [len(json.dumps(asdict(entry), sort_keys=True, indent=1)) for entry in chosen]
    return LayerFigures(
        member=member.called,
        how=how_of(member),
        draws=member.draws,
        lengths=dict(sorted(Counter(row["num_tokens"] for row in rows).items())),
        caption_bytes=_bytes_of(rows, form),
        entry_bytes=sum(sizes) / len(sizes),
    )


def _bytes_of(rows: Sequence[Any], form: Format) -> Range:
    if len(rows) < 2:
        return (float(len(to_bytes(rows, {}, form))),) * 2
    half = len(rows) // 2
    whole, part = len(to_bytes(rows, {}, form)), len(to_bytes(rows[:half], {}, form))
    ends = (whole - part) / (len(rows) - half), whole / len(rows)
    return max(0.0, min(ends)), max(ends)


def save(calibration: Calibration, file: Path) -> None:
    """Write a calibration; raise UserError where that is not possible."""
    try:
        file.write_text(calibration.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--save {file}: cannot be written ({error.strerror}); choose another file") from None


def load(file: Path) -> Calibration:
    """Read a calibration; raise NotFoundError where none is, UserError for one that cannot be read."""
    try:
        return Calibration.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(
            f"--calibration {file}: no such file; make one with captioners plan RECIPE --save {file}"
        ) from None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        said = (
            f"{error.error_count()} values are not as they should be" if isinstance(error, ValidationError) else error
        )
        raise UserError(f"--calibration {file}: no calibration ({said}); make it again with --save {file}") from None
