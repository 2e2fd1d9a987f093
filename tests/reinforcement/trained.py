"""Small reinforced shards whose every row of embeddings is another one, so that a wrong pairing shows."""

import json
from hashlib import sha256

import numpy as np

from captioners.data.tar import TarWriter
from captioners.reinforcement.augmentation import Augmentation, as_config, draw
from captioners.reinforcement.embeddings import legacy, split, to_npz, to_pth_gz
from tests.images.pictures import jpeg, noise

AUGMENTATION = Augmentation(size=64)
SYN = {"syn_text": ["a dog", "a black dog", "dogs"], "syn_text_coco": ["two dogs", "a dog that runs"]}


def unit_rows(count, seed, width=8):
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sample(number, layout="split", form="npz", augmentations=4, syn=None):
    """The members of sample `number`: a picture, texts, draws, and embeddings of fixed rows."""
    picture = jpeg(noise(120 + number, 90, seed=number))
    syn = SYN if syn is None else syn
    said = {key: [f"{text} {number}" for text in texts] for key, texts in syn.items()}
    identity = sha256(picture).hexdigest()
    draws = [draw(AUGMENTATION, 120 + number, 90, 0, identity, k) for k in range(augmentations)]
    make = legacy if layout == "legacy" else split
    rows = {key: unit_rows(len(texts), (number, 2, at)) for at, (key, texts) in enumerate(said.items())}
    arrays = make(unit_rows(augmentations, (number, 0)), unit_rows(1, (number, 1)), rows)
    members = {
        "jpg": picture,
        "json": b"{}",
        "txt": f"Hund {number}, größer".encode(),
        "syn.json": json.dumps(said).encode(),
        "paug.json": json.dumps({"param_aug": draws}).encode(),
    }
    return members | ({"npz": to_npz(arrays)} if form == "npz" else {"pth.gz": to_pth_gz(arrays)})


def key_of(number):
    return f"{number:06d}"


def write(folder, samples, name="00000.tar", config=True):
    """A shard of `samples` (key -> members), beside a configuration as the embedding stage writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    with TarWriter(folder / name) as tar:
        for key, members in samples.items():
            tar.add(key, members)
    if config:
        said = {
            "model_name": "a,b",
            "num_samples": 4,
            "pretrained": "",
            "teachers": [{"dim": 5, "logit_scale": 70.0}, {"dim": 3, "logit_scale": 60}],
            "reinforce": {"image_augmentation": as_config(AUGMENTATION)},
        }
        (folder / "config.json").write_text(json.dumps(said))
    return folder
