"""How Apple's tools read shards, said again from their documented rules and from nothing of ours: the tests' judge.

`read_shard` behaves as the generator's reader of tars (one flat dict a sample), `draw` as the trainer with a sample.
"""

import gzip
import io
import json
import re
import tarfile

import numpy as np
import torch


def read_shard(path):
    """The samples of a shard as flat dicts; ValueError, TypeError or UnicodeDecodeError give up the whole shard."""
    samples, current, last = [], {}, None
    with tarfile.open(path) as tar:
        for info in tar:
            if not info.isfile():
                continue
            uid, ending = info.name.split(".", 1)  # ValueError without a dot
            data = tar.extractfile(info).read()
            if last is not None and uid != last:
                samples.append(current)
                current = {}
            last = current["uid"] = uid
            if ending in ("txt", "url.txt"):
                current["text" if ending == "txt" else "url"] = data.decode()
            elif ending == "jpg":
                current["image"] = data
            elif ending.endswith("json"):
                current.update(json.loads(data))
            elif ending == "npz":
                current.update(np.load(io.BytesIO(data)))
            elif ending == "pth.gz":
                current.update(torch.load(io.BytesIO(gzip.decompress(data)), weights_only=True))
            else:
                raise ValueError(f"unsupported: {info.name}")
    return [*samples, *([current] if last is not None else [])]


def grouped(path):
    """Key -> extension -> bytes as the trainer's loader groups them: by the last folder's first dot, small letters."""
    found = {}
    with tarfile.open(path) as tar:
        for info in tar:
            match = re.fullmatch(r"((?:.*/|)[^.]+)[.]([^/]*)", info.name)
            if info.isfile() and match:
                found.setdefault(match[1], {})[match[2].lower()] = tar.extractfile(info).read()
    return found


def draw(members, random, online=False, regex="^syn_text.*$"):
    """One training draw of a sample: (augmentation, text, caption, image_emb, text_emb, caption_emb).

    None for a sample that it filters. Raises what it dies of. `online` is distillation without stored embeddings.
    """
    if "txt" not in members or not {"jpg", "png", "jpeg", "webp"} & members.keys():
        return None  # left out without a word
    gt = [members["txt"].decode()]
    augmentation, number = None, 0
    if not online:
        listed = json.loads(members["paug.json"])["param_aug"]
        number = random.integers(len(listed))
        augmentation = listed[number]
        _box, operations = augmentation
        _top, _left, _height, _width = _box
        for operation, magnitude in operations or []:
            range(14)[operation], float(magnitude)
    text_at = random.integers(len(gt))
    said = json.loads(members["syn.json"])
    keys = [key for key in said if re.match(regex, key)]
    key = keys[random.integers(0, len(keys))]
    at = random.integers(0, len(said[key]))
    caption = said[key][at]
    if online:
        return augmentation, gt[text_at], caption, None, None, None
    if "npz" in members:
        arrays = np.load(io.BytesIO(members["npz"]))
    else:
        arrays = torch.load(io.BytesIO(gzip.decompress(members["pth.gz"])), weights_only=True)
    texts = arrays["text_emb"]
    captions = texts[len(gt) + at] if len(texts) > len(gt) else arrays[f"{key}_emb"][at]
    return augmentation, gt[text_at], caption, arrays["image_emb"][number], texts[text_at], captions
