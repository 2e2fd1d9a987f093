"""The files beside the shards of a set: sizes.json, manifest.jsonl, info.json and the wrapped config.json.

FOLDER/sizes.json       {"00000000.tar": samples}, where open_clip looks for a set's size: beside its first shard
FOLDER/manifest.jsonl   {"shard": "00000000", "num_uids": samples} a line, as the releases have it
info.json               {"name", "lengths": {"00/00000000.tar": "samples"}, "totalLength", "date"}, numbers as text
config.json             {"model_name", "num_samples", "pretrained", "reinforce": {"image_augmentation": {...}}}
"""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from captioners.reinforcement.members import Problem

SIZES, MANIFEST, INFO, CONFIG = "sizes.json", "manifest.jsonl", "info.json", "config.json"


def set_files(shards: Mapping[str, int], name: str, date: str) -> dict[str, str]:
    r"""Return name -> text of the files beside a set's shards.

    Args:
        shards: path relative to the set's folder -> samples, in order.
        name: of the set. date: as in 2026-01-31T23:59:59.

    >>> set_files({"00/0.tar": 3}, "mine", "")["00/manifest.jsonl"]
    '{"shard": "0", "num_uids": 3}\n'
    """
    folders: dict[str, dict[str, int]] = {}
    for shard, samples in shards.items():
        path = PurePosixPath(shard)
        folders.setdefault(path.parent.as_posix(), {})[path.name] = samples
    files = {}
    for folder, sizes in folders.items():
        where = "" if folder == "." else f"{folder}/"
        lines = (json.dumps({"shard": PurePosixPath(one).stem, "num_uids": n}) for one, n in sizes.items())
        files[f"{where}{SIZES}"] = json.dumps(sizes, indent=2) + "\n"
        files[f"{where}{MANIFEST}"] = "".join(f"{line}\n" for line in lines)
    lengths = {shard: str(samples) for shard, samples in shards.items()}
    info = {"name": name, "lengths": lengths, "totalLength": str(sum(shards.values())), "date": date}
    files[INFO] = json.dumps(info, indent=2) + "\n"
    return files


def wrapped_config(
    image_augmentation: Mapping[str, Any],
    *,
    model_name: str = "",
    pretrained: str = "",
    num_samples: int = 0,
    **more: Any,
) -> str:
    """Return the text of config.json as the trainer reads it (`--dataset-reinforcement-config`).

    Args:
        model_name, pretrained: of the teachers, with commas between them; empty where nothing is embedded.
        num_samples: augmentations of each picture. more: further facts, which the trainer does not look at.
    """
    config = {"model_name": model_name, "num_samples": num_samples, "pretrained": pretrained, **more}
    return json.dumps({**config, "reinforce": {"image_augmentation": dict(image_augmentation)}}, sort_keys=True) + "\n"


def problems_of_set_files(files: Mapping[str, bytes], shards: Mapping[str, int]) -> list[Problem]:
    """Return what is wrong with the files beside the shards of one folder.

    Args:
        files: name -> bytes, of those that are there. shards: path relative to it -> samples, as they were counted.
    """
    checks = {SIZES: _sizes, MANIFEST: _manifest, INFO: _info, CONFIG: _config}
    beside = {name: samples for name, samples in shards.items() if "/" not in name}
    found = []
    for name, check in checks.items():
        if name in files:
            try:
                wrong = check(files[name].decode("utf-8"), shards if name == INFO else beside)
            except (ValueError, TypeError, OverflowError, RecursionError) as error:  # what JSON's values may be
                wrong = f"cannot be read ({' '.join(str(error).split())[:80]})"
            if wrong:
                remedy = "write it again" if name == CONFIG else "write it again (--fix)"
                found.append(Problem(PurePosixPath(name).stem, name, wrong, remedy))
    return found


def _sizes(text: str, shards: Mapping[str, int]) -> str:
    value = json.loads(text)
    if not isinstance(value, dict) or not all(type(one) is int for one in value.values()):
        return "is no object of shard names and whole numbers, as open_clip reads it"
    return _differ({name: value.get(name) for name in shards}, shards)


def _manifest(text: str, shards: Mapping[str, int]) -> str:
    lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(one, dict) and {"shard", "num_uids"} <= one.keys() for one in lines):
        return 'is not {"shard": ..., "num_uids": ...} a line'
    told = {str(one["shard"]).removesuffix(".tar"): one["num_uids"] for one in lines}
    return _differ({name: told.get(name.removesuffix(".tar")) for name in shards}, shards)


def _info(text: str, shards: Mapping[str, int]) -> str:
    value = json.loads(text)
    lengths = value.get("lengths") if isinstance(value, dict) else None
    if not isinstance(lengths, dict):
        return 'has no object "lengths", by which the reference finds the shards'
    counts = {name: int(count) for name, count in lengths.items()}
    if "totalLength" in value and int(value["totalLength"]) != sum(counts.values()):
        return f"says {value['totalLength']} in all, and its lengths make {sum(counts.values())}"
    named = {name: count for name, count in counts.items() if name in shards}
    return _differ(named, {name: shards[name] for name in named})


def _config(text: str, shards: Mapping[str, int]) -> str:  # noqa: ARG001
    value = json.loads(text)
    inside = value.get("reinforce") if isinstance(value, dict) else None
    if not isinstance(inside, dict) or not isinstance(inside.get("image_augmentation"), dict):
        return 'has no "reinforce": {"image_augmentation": {...}}: training stops with a KeyError'
    return ""


def _differ(told: Mapping[str, Any], shards: Mapping[str, int]) -> str:
    for name, count in shards.items():
        if told[name] is None:
            return f"does not name {name}"
        if told[name] != count:
            return f"says {told[name]} samples of {name}, which has {count}"
    return ""
