"""What `verify` makes a second time: some samples, or whole shards, which are then read again from their source."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from captioners.core.entry import Entry
from captioners.core.run_dir import RunDir, is_complete
from captioners.data.run_pictures import RunPictures
from captioners.data.source import Sample
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.jobs.runs.remake import Row, read_recipe_of, remake
from captioners.jobs.runs.report_data import gather
from captioners.text import flags

_MOST_TOLD = 20


@dataclass
class Remade:
    """What came of it."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    """same, near tie, wrong, not made -> captions."""


def samples_again(run: RunDir, sound: Sequence[Entry], samples: int, seed: int) -> Remade:
    """Make the captions of some samples once more, chosen by a hash with `seed`."""
    rows = [row for s in gather(run, sound, samples, seed).samples for rows in s["rows"].values() for row in rows]
    found = Remade()
    _make(run, rows, found)
    return found


def shards_again(run: RunDir, sound: Sequence[Entry], shards: int, seed: int) -> Remade:
    """Read whole shards again and make all their captions once more; those chosen by a hash with `seed`."""
    found = Remade()
    parts: dict[str, dict[str, list[Entry]]] = {}
    for entry in sound:
        parts.setdefault(entry.shard, {}).setdefault(entry.layer, []).append(entry)
    whole = [shard for shard, layers in parts.items() if all(is_complete(units) for units in layers.values())]
    whole.sort(key=lambda shard: sha256(f"{seed}\x1f{shard}".encode()).hexdigest())
    for shard in whole[:shards]:
        entries = [entry for units in parts[shard].values() for entry in units]
        rows = [row for entry in entries for row in run.rows(entry).to_pylist()]
        found.findings += [f"shard {shard}: {problem}" for problem in _reread(run, shard, entries, rows)]
        _make(run, rows, found)
    if len(whole) < shards:
        found.notes.append(f"{len(whole):,} shards are whole and sound; {shards:,} were to be made again")
    return found


def _reread(run: RunDir, shard: str, entries: Sequence[Entry], rows: Sequence[Row]) -> Iterator[str]:
    """Yield what the shard, read again from its source, has against what each member says was in it."""
    there = {
        found.index: (found.key, sha256(found.image).hexdigest() if isinstance(found, Sample) else "")
        for found in RunPictures(run).samples(shard)
        if found.key
    }
    said: dict[str, dict[int, tuple[str, str]]] = {entry.layer: {} for entry in entries}
    for row in rows:
        said[row["member"]][row["index"]] = row["key"], row["image_sha256"]
    for entry in entries:
        lines = run.place.read(entry.quarantine_file).decode().splitlines() if entry.quarantine_file else []
        for record in map(json.loads, lines):
            if record["key"]:
                said[entry.layer].setdefault(record["index"], (record["key"], ""))
    for member, samples in said.items():
        for index in sorted({*there, *samples}):
            now, then = there.get(index, ("nothing", "")), samples.get(index, ("nothing", ""))
            # Of what could not be read nobody knows the bytes; it may be readable by now.
            if now[0] != then[0] or (then[1] and now[1] != then[1]):
                yield f"member {member}: sample {index} was {then[0]} {then[1][:12]}, and is {now[0]} {now[1][:12]}"
                break


def _make(run: RunDir, rows: Sequence[Row], found: Remade) -> None:
    """Make captions again; a near tie is rounding, not a fault."""
    recipe = read_recipe_of(run)
    layers = {layer.name: layer.meaning for layer in run.layers()}
    for member in sorted({row["member"] for row in rows}):
        problems = [f"member {member}: {problem}" for problem in _otherwise(recipe, member, layers.get(member, {}))]
        found.findings += [problem for problem in problems if problem not in found.findings]
    wrong = Counter[str]()
    for made in remake(run, rows):
        found.outcomes[made.outcome] += 1
        row = made.row
        name = f"{row['shard']}:{row['key']}, member {row['member']}, draw {row['draw']}"
        if made.outcome == "wrong":
            wrong[row["member"]] += 1
            if wrong[row["member"]] <= _MOST_TOLD:
                found.findings.append(f"{name}: made again it is another: {made.text!r}, not {row['text']!r}")
        elif made.outcome == "not made":
            found.notes.append(f"{name}: not made again: {made.why}")
        if said := _flags(recipe, row, layers.get(row["member"], {})):
            found.findings.append(f"{name}: {said}")
    for member, count in wrong.items():
        if count > _MOST_TOLD:
            found.findings.append(f"member {member}: {count:,} captions made again are others; {_MOST_TOLD} are named")


def _otherwise(recipe: GenerateRecipe, called: str, meaning: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the recipe says otherwise than the layer was made with; `generate` would have refused it."""
    member = next((member for member in recipe.members if member.called == called), None)
    if member is None:
        return
    now = {"decoding": member.decoding.model_dump(mode="json"), "prompt": member.prompt, "seed": recipe.seed}
    for name, value in now.items():
        then = meaning.get(name, value)
        same = {key: value.get(key) for key in then} if isinstance(value, dict) and isinstance(then, dict) else value
        if same != then:
            yield f"its layer was made with {name} {then}, and recipe.yaml says {same}"


def _flags(recipe: GenerateRecipe, row: Row, meaning: Mapping[str, Any]) -> str:
    """Say whether a row's flags are not what the rules give, if it was made by these rules."""
    if (meaning.get("rules") or {}).get("version") != flags.VERSION:
        return ""
    given = [flag for flag in row["flags"] if flag != "placeholder"]
    rules = flags.flags_of(row["text"], row["raw_text"], row["finish"], recipe.rules.scripts)
    return "" if given == rules else f"has the flags {given}, and the rules give {rules}"
