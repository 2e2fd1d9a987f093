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

SIZES, MANIFEST, INFO, CONFIG = "sizes.json", "manifest.jsonl", "info.json", "config.json"

IMAGE_AUGMENTATION: Mapping[str, Any] = {
    "normalize": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]},
    "rand_augment": {"enable": True, "p": 1.0},
    "random_resized_crop": {"interpolation": "bicubic", "size": 224},
    "to_rgb": {"enable": True},
    "to_tensor": {"enable": True},
}
"""What the published sets were augmented by, in the words of their config.json."""


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
    image_augmentation: Mapping[str, Any] = IMAGE_AUGMENTATION,
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
