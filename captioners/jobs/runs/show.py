"""One sample of a run: its captions with all that is known of them, and the same captions made again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captioners.core.entry import Entry
from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.run_dir import RunDir, open_run
from captioners.jobs.runs.remake import Again, remake
from captioners.jobs.runs.words import captioner_name, decoding_words

_MOST_NAMES = 20_000
"""Keys that near ones are looked for among."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One member's captions of the sample."""

    member: str
    captioner: str
    weights: str
    """Digest of the captioner's weights, hexadecimal."""
    decoding: str
    environment: Mapping[str, str]
    """Versions, device, dtype."""
    finished: str
    rows: Sequence[Mapping[str, Any]]
    """Rows of the layer, by draw."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample of a run."""

    shard: str
    key: str
    members: Sequence[Shown]
    quarantine: Mapping[str, Any] | None
    """Its record, if it could not be read."""


def show(given: str | RunDir, key: str) -> Sample:
    """Return all that a run knows of a sample, by its key or SHARD:KEY.

    Raises:
        NotFoundError: no such run or key (near keys are given). UserError: several shards have this key.
    """
    run = given if isinstance(given, RunDir) else open_run(given)
    shards = [str(shard["path"]) for shard in run.inputs()]
    named = [shard for shard in shards if key.startswith(f"{shard}:")]
    found: dict[str, list[tuple[Entry, list[dict[str, Any]]]]] = {}
    keys: dict[str, None] = {}
    for entry in run.entries():
        wanted = key.removeprefix(f"{entry.shard}:") if entry.shard in named else key
        if named and entry.shard not in named:
            continue
        table = run.rows(entry)
        names = table["key"].to_pylist()
        rows = table.filter([name == wanted for name in names]).to_pylist()
        if rows:
            found.setdefault(entry.shard, []).append((entry, rows))
        if len(keys) < _MOST_NAMES:
            keys.update(dict.fromkeys(names))
    lost = {record["shard"]: record for record in run.quarantine() if _is(record, key)}
    where = sorted({*found, *lost})
    if not where:
        bare = next((key.removeprefix(f"{shard}:") for shard in named), key)
        raise NotFoundError(f"{run.url} has no sample {key!r}.{near(bare, keys) or _not_finished(run)}")
    if len(where) > 1:
        said = ", ".join(f"'{shard}:{key}'" for shard in where[:5])
        raise UserError(f"{len(where)} shards have a sample {key!r}; say which: {said}")
    units = found.get(where[0], [])
    name = units[0][1][0]["key"] if units else lost[where[0]]["key"]
    return Sample(
        shard=where[0], key=name, members=[_shown(run, *unit) for unit in units], quarantine=lost.get(where[0])
    )


def again(given: str | RunDir, sample: Sample) -> list[Again]:
    """Make the sample's captions once more and return how each came out."""
    run = given if isinstance(given, RunDir) else open_run(given)
    return list(remake(run, [row for shown in sample.members for row in shown.rows]))


def _is(record: Mapping[str, Any], key: str) -> bool:
    return bool(record["key"]) and key in (record["key"], f"{record['shard']}:{record['key']}")


def _not_finished(run: RunDir) -> str:
    return f" Keys are those of its source; `captioners status {run.url}` says what is done yet"


def _shown(run: RunDir, entry: Entry, rows: Sequence[Mapping[str, Any]]) -> Shown:
    layer = next(layer for layer in run.layers() if layer.name == entry.layer)
    return Shown(
        member=layer.name,
        captioner=captioner_name(layer),
        weights=str(layer.meaning.get("weights", "")),
        decoding=decoding_words(layer.meaning.get("decoding")),
        environment=entry.environment,
        finished=entry.finished,
        rows=sorted(rows, key=lambda row: int(row["draw"])),
    )
