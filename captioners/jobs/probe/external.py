"""Arms for another trainer: each arm's shards with its captions alone, and a script with a command for each student."""

import json
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from captioners.core.errors import NotFoundError, UserError
from captioners.data.inputs import find_inputs, input_root, open_file, state
from captioners.data.raw_samples import RawSample, raw_samples
from captioners.data.tar import TarWriter
from captioners.jobs.probe.table import key_of
from captioners.jobs.recipes.probe import Arm, ProbeRecipe
from captioners.reinforcement import embeddings
from captioners.reinforcement.members import EMB, NPZ, PTH, SYN, TEXT_EMB, is_syn_key
from captioners.reinforcement.mend import to_json
from captioners.reinforcement.set_files import INFO, set_files

SCRIPT = "train_all.sh"
MADE_OF = "made_of.txt"
"""In an arm's folder: a digest of the arm and of the shards that it was made of."""


def export_arms(recipe: ProbeRecipe, folder: Path, say: Callable[[str], None]) -> None:
    """Write `arms/ARM/` for every arm, and the script; an arm that is there already, of the same captions, stays.

    All arms have the same samples: those that every arm has captions of.

    Raises UserError for arms that this form cannot say, and where they share no sample.
    """
    for name, arm in recipe.arms.items():
        if arm.mixed != "every_step":
            raise UserError(f"arms.{name}: mixed {arm.mixed} is drawn by our own trainer alone; leave it out")
    shared = _shared(recipe, say)
    for number, (name, arm) in enumerate(recipe.arms.items()):
        out = folder / "arms" / _folder_name(number, name)
        inputs = arm.shards or recipe.shards
        files = find_inputs(inputs, (".tar",), "shards")
        about = [arm.model_dump(mode="json"), [[one, *state(files[one])] for one in files], sorted(shared)]
        digest = sha256(json.dumps(about).encode()).hexdigest()
        if not (out / MADE_OF).is_file() or (out / MADE_OF).read_text(encoding="utf-8") != digest:
            part = out.with_name(f"{out.name}.part")
            for old in (part, out):
                rmtree(old, ignore_errors=True)
            samples = _export(inputs, arm, name, part, shared)
            (part / MADE_OF).write_text(digest, encoding="utf-8")
            part.rename(out)
            say(f"{out}: {samples:,} samples")
    names = {
        name: str((folder / "arms" / _folder_name(number, name)).absolute()) for number, name in enumerate(recipe.arms)
    }
    (folder / SCRIPT).write_text(_script(recipe, names), encoding="utf-8")
    say(f"{folder / SCRIPT}: a command for every student; then: captioners probe ... kind=external results=FILE")


def _shared(recipe: ProbeRecipe, say: Callable[[str], None]) -> set[str]:
    """Return the keys of the samples that every arm has captions of, and say how many are left out."""
    there: dict[tuple[str, ...], list[tuple[str, dict[str, Any]]]] = {}
    found = []
    for arm in recipe.arms.values():
        inputs = tuple(arm.shards or recipe.shards)
        if inputs not in there:
            there[inputs] = list(_said(inputs))
        found.append({key for key, said in there[inputs] if _most(said, arm) is not None})
    shared = set.intersection(*found)
    every = {key for samples in there.values() for key, _ in samples}
    if not shared:
        raise UserError("the arms have captions of no picture in common; look at their shards and keys")
    if len(shared) < len(every):
        say(f"{len(every) - len(shared):,} of {len(every):,} samples are left out: not every arm has captions of them")
    return shared


def _said(inputs: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (key, captions) of all samples."""
    for shard, file in find_inputs(inputs, (".tar",), "shards").items():
        with open_file(file) as opened:
            for raw in raw_samples(opened, shard):
                if isinstance(raw, RawSample):
                    yield raw.key, json.loads(raw.members.get(SYN, b"{}"))


def _most(said: Mapping[str, Any], arm: Arm) -> dict[str, int] | None:
    """Return key -> how many of its captions an arm takes; None if the sample lacks a key."""
    keys = [key for key in said if is_syn_key(key)]
    try:
        return {key_of(word, keys): count for word, count in arm.captions.items()}
    except NotFoundError:
        return None


def _folder_name(number: int, name: str) -> str:
    """Return a folder's name that a shell need not quote."""
    return f"{number:02d}-" + "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def _script(recipe: ProbeRecipe, names: dict[str, str]) -> str:
    lines = [
        "#!/bin/sh",
        "# A student for each arm, seed and weight of distillation. Each writes lines to results.jsonl:",
        '# {"arm": "NAME", "seed": 0, "task": "imagenet", "value": 0.5, "distillation": 1.0}',
        "set -e",
    ]
    for seed in recipe.seeds:
        for weight in recipe.distillation_weights:
            for name, where in names.items():
                command = recipe.command
                for word, value in (
                    ("{arm}", name),
                    ("{shards}", where),
                    ("{seed}", seed),
                    ("{distillation}", f"{weight:g}"),
                ):
                    command = command.replace(word, shlex.quote(str(value)))
                lines.append(command)
    return "\n".join(lines) + "\n"


def _export(inputs: list[str], arm: Arm, name: str, out: Path, shared: Collection[str]) -> int:
    shards: dict[str, int] = {}
    for shard, file in find_inputs(inputs, (".tar",), "shards").items():
        path = out / shard
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_file(file) as opened, TarWriter(path) as tar:
            shards[shard] = 0
            for raw in raw_samples(opened, shard):
                if isinstance(raw, RawSample) and raw.key in shared:
                    tar.add(raw.key, _members(raw, arm, name))
                    shards[shard] += 1
    for file_name, text in set_files(shards, "", "").items():
        if file_name != INFO:
            (out / file_name).write_text(text, encoding="utf-8")
    with suppress(FileNotFoundError, NotFoundError):  # none beside captioned shards, whose trainer has its own teachers
        (out / "config.json").write_bytes((input_root(inputs) / "config.json").read_bytes())
    return sum(shards.values())


def _members(raw: RawSample, arm: Arm, name: str) -> dict[str, bytes]:
    """Return a sample's members with the arm's captions alone, and their embeddings."""
    said = json.loads(raw.members.get(SYN, b"{}"))
    keys = [key for key in said if is_syn_key(key)]
    most = _most(said, arm) or {}
    members = {extension: data for extension, data in raw.members.items() if extension not in (SYN, NPZ, PTH)}
    if most:
        members[SYN] = to_json({key: said[key][:count] for key, count in most.items()})
    for extension, write in ((NPZ, embeddings.to_npz), (PTH, embeddings.to_pth_gz)):
        if extension in raw.members:
            arrays = embeddings.read(f"{raw.key}.{extension}", raw.members[extension])
            rows = {key: embeddings.text_rows(arrays, 1, key, len(said[key]))[1][:count] for key, count in most.items()}
            kept = {one: np.asarray(array) for one, array in arrays.items() if one.removesuffix(EMB) not in keys}
            kept[TEXT_EMB] = arrays[TEXT_EMB][:1]
            members[extension] = write({**kept, **{key + EMB: array for key, array in rows.items()}})
    if not members:
        raise UserError(f"arm {name}: {raw.key} has no members")
    return dict(sorted(members.items()))
