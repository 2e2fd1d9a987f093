"""Arms for another trainer: each arm's shards with its captions alone, and a script with a command for each student."""

import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from captioners.core.errors import NotFoundError, UserError
from captioners.data.inputs import find_inputs, input_root, open_file
from captioners.data.raw_samples import RawSample, raw_samples
from captioners.data.tar import TarWriter
from captioners.jobs.probe.table import key_of
from captioners.jobs.recipes.probe import Arm, ProbeRecipe
from captioners.reinforcement import embeddings
from captioners.reinforcement.members import EMB, NPZ, PTH, SYN, TEXT_EMB, is_syn_key
from captioners.reinforcement.mend import to_json
from captioners.reinforcement.set_files import INFO, set_files

SCRIPT = "train_all.sh"


def export_arms(recipe: ProbeRecipe, folder: Path, say: Callable[[str], None]) -> None:
    """Write `arms/ARM/` for every arm, and the script; an arm that is there already stays.

    Raises UserError for arms that this form cannot say.
    """
    for number, (name, arm) in enumerate(recipe.arms.items()):
        if arm.mixed != "every_step":
            raise UserError(f"arms.{name}: mixed {arm.mixed} is drawn by our own trainer alone; leave it out")
        out = folder / "arms" / _folder_name(number, name)
        if not out.is_dir():
            part = out.with_name(f"{out.name}.part")
            samples = _export(arm.shards or recipe.shards, arm, name, part)
            part.rename(out)
            say(f"{out}: {samples:,} samples")
    names = {
        name: str((folder / "arms" / _folder_name(number, name)).absolute()) for number, name in enumerate(recipe.arms)
    }
    (folder / SCRIPT).write_text(_script(recipe, names), encoding="utf-8")
    say(f"{folder / SCRIPT}: a command for every student; then: captioners probe ... kind=external results=FILE")


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


def _export(inputs: list[str], arm: Arm, name: str, out: Path) -> int:
    shards: dict[str, int] = {}
    for shard, file in find_inputs(inputs, (".tar",), "shards").items():
        path = out / shard
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_file(file) as opened, TarWriter(path) as tar:
            shards[shard] = 0
            for raw in raw_samples(opened, shard):
                if isinstance(raw, RawSample) and (members := _members(raw, arm, name)) is not None:
                    tar.add(raw.key, members)
                    shards[shard] += 1
    for file_name, text in set_files(shards, "", "").items():
        if file_name != INFO:
            (out / file_name).write_text(text, encoding="utf-8")
    with suppress(FileNotFoundError, NotFoundError):  # none beside captioned shards, whose trainer has its own teachers
        (out / "config.json").write_bytes((input_root(inputs) / "config.json").read_bytes())
    return sum(shards.values())


def _members(raw: RawSample, arm: Arm, name: str) -> dict[str, bytes] | None:
    """Return a sample's members with the arm's captions alone, and their embeddings; None if it lacks any."""
    said = json.loads(raw.members.get(SYN, b"{}"))
    keys = [key for key in said if is_syn_key(key)]
    try:
        most = {key_of(word, keys): count for word, count in arm.captions.items()}
    except NotFoundError:
        return None
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
