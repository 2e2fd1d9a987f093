"""Check a run against its own ledger: sums, files, rows, parts. A finding is one line; nothing is repaired.

What a finding names is damage or a bug. Files that no entry names are neither: nobody reads them.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Any

from captioners.core.entry import Counts, Entry, Unit
from captioners.core.errors import NotFoundError, UserError
from captioners.core.layers import Layer
from captioners.core.ledger import Ledger
from captioners.core.records import content_digest, from_bytes
from captioners.core.run_dir import RunDir, is_complete, open_run
from captioners.core.shard_files import REINFORCED
from captioners.jobs.runs import again as remaking
from captioners.jobs.runs.weights import check_weights

_EXAMPLES = 3
_CHUNK = 64 << 20
_AGAIN = "`captioners retry RUN --damaged` opens its unit again"


@dataclass
class Verified:
    """What was looked at and what was found."""

    run: str
    job: str = "generate"
    """Whose run it is."""
    findings: list[str] = field(default_factory=list)
    damaged: list[Unit] = field(default_factory=list)
    """Units of the run's own layers with a finding; made again, they are sound."""
    units: int = 0
    shards: int = 0
    """Frozen shards."""
    unfinished: dict[str, int] = field(default_factory=dict)
    """Member -> frozen shards that it has not captioned to the end; `captioners generate` goes on with them."""
    orphans: list[str] = field(default_factory=list)
    """Files that no entry names."""
    counts: dict[str, Counts] = field(default_factory=dict)
    """Member -> sums over its units."""
    notes: list[str] = field(default_factory=list)
    """What was checked, or could not be, and is no finding."""
    again: Counter[str] = field(default_factory=Counter)
    """Outcome -> captions made again."""


def verify(
    given: str | RunDir, *, weights: bool = True, again: int = 0, shards_again: int = 0, seed: int = 0
) -> Verified:
    """Check every entry of a run's ledger, every file that it names, and that each shard's parts fit together.

    Args:
        weights: hash the captioners' weights anew, where they are on this machine.
        again: make the captions of so many samples once more, chosen by a hash with `seed`, and compare them.
        shards_again: read so many whole shards again and make all their captions once more, chosen likewise.

    Raises:
        NotFoundError: no such run. UserError: run.json or a layer.json is damaged, so that nothing can be checked.
    """
    run = given if isinstance(given, RunDir) else open_run(given)
    run.settled()
    layers = {layer.name: layer for layer in run.layers()}
    frozen = {str(shard["path"]): shard for shard in run.inputs()}
    found = Verified(run.url, run.job, shards=len(frozen))
    shards: dict[tuple[str, str], list[tuple[str, Entry]]] = {}
    for name, entry in _entries(run, found.findings):
        shards.setdefault((entry.layer, entry.shard), []).append((name, entry))
    whole: Counter[str] = Counter()
    sound: list[Entry] = []
    for (member, shard), units in sorted(shards.items(), key=lambda item: item[0]):
        samples: list[tuple[str, int]] = []
        for name, entry in units:
            said, made = _unit(run, name, entry, layers.get(member))
            found.findings += [f"{run.place.at(name)}: {problem}" for problem in said]
            samples += made
            if not said:
                sound.append(entry)
            elif name == Ledger.name(*entry.unit) and _made_as_now(entry, layers.get(member)):
                found.damaged.append(entry.unit)
            found.units += 1
            found.counts[member] = found.counts.get(member, Counts()) + entry.counts
        problems = _shard([entry for _, entry in units], frozen.get(shard)) + _repeated(samples)
        found.findings += [f"member {member}, shard {shard}: {problem}" for problem in problems]
        whole[member] += shard in frozen and is_complete([entry for _, entry in units])
    found.findings += _wholes(found.counts, layers)
    found.unfinished = {name: len(frozen) - whole[name] for name in sorted(layers) if whole[name] < len(frozen)}
    found.orphans = run.orphans(entry for units in shards.values() for _, entry in units)
    try:
        if weights and not any(layer.name == REINFORCED for layer in layers.values()):
            for line, wrong in check_weights(run):
                (found.findings if wrong else found.notes).append(line)
        if again:
            _remade(found, remaking.samples_again(run, sound, again, seed))
        if shards_again:
            _remade(found, remaking.shards_again(run, sound, shards_again, seed))
    except UserError as error:  # the recipe, which both begin with
        found.findings.append(f"{run.place.at('recipe.yaml')}: {' '.join(str(error).split())}")
    return found


def _remade(found: Verified, made: remaking.Remade) -> None:
    found.findings += made.findings
    found.notes += made.notes
    found.again += made.outcomes


def _entries(run: RunDir, findings: list[str]) -> Iterator[tuple[str, Entry]]:
    """Yield each readable entry with its name; a damaged one is a finding."""
    for name, text in run.ledger.texts():
        try:
            entry = run.ledger.parsed(name, text)
        except UserError as error:
            findings.append(str(error))
            continue
        if entry is not None:
            yield name, entry


def _unit(run: RunDir, name: str, entry: Entry, layer: Layer | None) -> tuple[list[str], list[tuple[str, int]]]:
    """Return what is wrong with one unit, and the (key, draw) of its rows."""
    if layer is None or not _made_as_now(entry, layer):
        what = "has no layer" if layer is None else "was made otherwise than its layer says (another fingerprint)"
        return [f"member {entry.layer} {what}; its captions are not read"], []
    said = []
    if name != Ledger.name(entry.layer, entry.shard, entry.part):
        said.append(f"speaks of {entry.layer}, {entry.shard}, part {entry.part}, which is not its name; remove it")
    if problem := entry.counts.problem(layer.draws):
        said.append(problem)
    if entry.counts.read != entry.stop - entry.start:
        said.append(f"read {entry.counts.read} samples, but is of {entry.start} to {entry.stop}")
    said += _quarantine(run, entry)
    if entry.attempt:
        return [*said, *_shard_file(run, entry)], []
    rows, problem = _rows(run, entry)
    if problem:
        return [*said, problem], []
    return [*said, *_contents(entry, layer, rows)], [(row["key"], row["draw"]) for row in rows]


def _shard_file(run: RunDir, entry: Entry) -> list[str]:
    """Return what is wrong with a shard that `reinforce` wrote; what is in it, its trainer's rules say."""
    digest, offset = sha256(), 0
    try:
        while data := run.place.read(entry.file, offset, _CHUNK):
            digest.update(data)
            offset += len(data)
    except NotFoundError:
        return [f"its file {entry.file} is gone; {_AGAIN}"]
    return (
        [] if digest.hexdigest() == entry.file_sha256 else [f"{entry.file} has changed since it was written; {_AGAIN}"]
    )


def _made_as_now(entry: Entry, layer: Layer | None) -> bool:
    return layer is not None and layer.fingerprint == entry.fingerprint


def _file(run: RunDir, name: str) -> bytes | None:
    try:
        return run.place.read(name)
    except NotFoundError:
        return None


def _rows(run: RunDir, entry: Entry) -> tuple[list[dict[str, Any]], str]:
    """Return a unit's rows, or what is wrong with their file."""
    if not entry.file:
        return [], f"names no file, but counts {entry.counts.rows} rows" if entry.counts.rows else ""
    data, where = _file(run, entry.file), run.place.at(entry.file)
    if data is None:
        return [], f"{where} is gone; {_AGAIN}"
    if entry.file_sha256 and sha256(data).hexdigest() != entry.file_sha256:
        return [], f"{where} has changed since it was written (sha256); {_AGAIN}"
    try:
        table = from_bytes(data, where)
    except UserError as error:
        return [], f"{error}; {_AGAIN}"
    return table.to_pylist(), ""


def _contents(entry: Entry, layer: Layer, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the rows of a unit, as they stand, have against its entry and its layer."""
    if content_digest(rows) != entry.digest:  # type: ignore[arg-type]
        yield f"its rows are not those that were written (content digest); {_AGAIN}"
    if len(rows) != entry.counts.rows:
        yield f"counts {entry.counts.rows} rows, and its file has {len(rows)}"
    places = [(row["index"], row["draw"]) for row in rows]
    if places != sorted(places):
        yield "its rows are not in the order of samples and draws"
    if strange := [row for row in rows if (row["shard"], row["member"]) != (entry.shard, entry.layer)]:
        shard, member = strange[0]["shard"], strange[0]["member"]
        yield f"{len(strange)} rows are of another shard or member, such as {shard}, {member}"
    if outside := [place for place, _ in places if not entry.start <= place < entry.stop]:
        yield f"{len(outside)} rows are of samples outside {entry.start} to {entry.stop}, such as {outside[0]}"
    draws = Counter(row["key"] for row in rows)
    if uneven := [key for key, count in draws.items() if count != layer.draws]:
        yield f"{len(uneven)} samples have not {layer.draws} draws, such as {uneven[0]} ({draws[uneven[0]]})"
    kept = {row["index"] for row in rows if row["keep"]}
    if len(kept) != entry.counts.captioned:
        yield f"counts {entry.counts.captioned} captioned, and {len(kept)} samples have a caption that no rule refused"
    flags = Counter(flag for row in rows for flag in row["flags"])
    if flags != Counter(entry.flags):
        yield f"counts flags {entry.flags}, and its rows have {dict(flags)}"


def _quarantine(run: RunDir, entry: Entry) -> list[str]:
    """Say what the quarantine file of a unit has against its entry."""
    if not entry.quarantine_file:
        return [f"counts {entry.counts.quarantined} quarantined and names no file"] if entry.counts.quarantined else []
    data, where = _file(run, entry.quarantine_file), run.place.at(entry.quarantine_file)
    if data is None:
        return [f"{where} is gone; {_AGAIN}"]
    try:
        records = [json.loads(line) for line in data.decode().splitlines()]
    except ValueError:
        return [f"{where} is damaged; {_AGAIN}"]
    samples = sum(bool(record["key"]) for record in records)
    said = []
    if samples != entry.counts.quarantined:
        said.append(f"counts {entry.counts.quarantined} quarantined, and its file has {samples}")
    if Counter(record["reason"] for record in records) != Counter(entry.reasons):
        said.append(f"counts reasons {entry.reasons}, which its file does not have")
    return said


def _shard(parts: Sequence[Entry], frozen: Mapping[str, Any] | None) -> list[str]:
    """Say how the parts of one shard contradict each other, or the shard as it was frozen.

    A part that is missing contradicts nothing: a stopped worker may have stored the next one first.
    """
    said = [] if frozen else ["is not among the frozen inputs"]
    parts = sorted(parts, key=lambda entry: (entry.part, entry.start))
    for before, after in pairwise(parts):
        if after.part == before.part:
            said.append(f"part {after.part} is there twice")
        elif after.start < before.stop:
            said.append(f"parts {before.part} and {after.part} overlap: to {before.stop}, from {after.start}")
        elif before.last:
            said.append(f"part {before.part} says that it is the last, and there is part {after.part}")
        elif after.part == before.part + 1 and after.start > before.stop:
            said.append(f"samples {before.stop} to {after.start} are in no part, after part {before.part}")
    if parts[0].part == 0 and parts[0].start:
        said.append(f"samples 0 to {parts[0].start} are in no part, before part 0")
    count = frozen.get("count") if frozen else None
    if parts[-1].last and count is not None and parts[-1].stop != count:
        said.append(f"{parts[-1].stop} samples were read, and {count} were frozen")
    return said


def _repeated(samples: Sequence[tuple[str, int]]) -> list[str]:
    twice = [sample for sample, count in Counter(samples).items() if count > 1]
    named = ", ".join(f"{key} draw {draw}" for key, draw in twice[:_EXAMPLES])
    return [f"{len(twice)} captions are there more than once: {named}"] if twice else []


def _wholes(counts: Mapping[str, Counts], layers: Mapping[str, Layer]) -> list[str]:
    """Say which member's sums over all units do not hold."""
    problems = {name: total.problem(layers[name].draws) for name, total in counts.items() if name in layers}
    return [f"member {name}, all units: {problem}" for name, problem in problems.items() if problem]
