"""Small captioned shards for the tests of `reinforce`, and how what it writes is read again without our own reader."""

import gzip
import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from captioners.data.tar import TarWriter

WORDS = ("a red cat sits", "two small birds", "the man runs near a street", "a large green table", "dog and star")
TEACHERS = "[{name: tiny, pretrained: random, scale: 70}, {name: tiny-siglip, pretrained: random, seed: 1, scale: 60}]"
DIMS = (48, 32)


def jpeg(number, size=(40, 30)):
    """The bytes of a small photo-like JPEG that is another for each number."""
    generator = np.random.Generator(np.random.PCG64(number))
    coarse = Image.fromarray(generator.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def sample(number, syn=None, size=(40, 30)):
    """The members of a captioned sample."""
    syn = {"syn_text": [f"{WORDS[(number + k) % 5]} {number}" for k in range(2)]} if syn is None else syn
    return {
        "jpg": jpeg(number, size),
        "txt": f"alt text {number}".encode(),
        "url.txt": f"https://example.org/{number}.jpg".encode(),
        "json": json.dumps({"uid": f"{number:032x}"}).encode(),
        "syn.json": json.dumps(syn).encode(),
    }


def write(folder, names=("00/0.tar", "01/0.tar", "01/1.tar"), samples=5, change=lambda number, members: members):
    """Write shards of captioned samples; `change` may return other members, or None to leave a sample out."""
    number = 0
    for name in names:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with TarWriter(path) as tar:
            for _ in range(samples):
                members = change(number, sample(number))
                if members is not None:
                    tar.add(f"{number:06d}", members)
                number += 1
    return folder


def read(path):
    """[(key, extension -> bytes)] of a shard, by Python's own tarfile."""
    found = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            found.setdefault(key, {})[extension] = tar.extractfile(member).read()
    return list(found.items())


def arrays(members):
    """The embeddings of a sample as float32, by numpy's and torch's own readers."""
    if "npz" in members:
        with np.load(io.BytesIO(members["npz"]), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    found = torch.load(io.BytesIO(gzip.decompress(members["pth.gz"])), weights_only=True)
    assert all(tensor.dtype == torch.bfloat16 for tensor in found.values())
    return {name: tensor.float().numpy() for name, tensor in found.items()}


def digests(run):
    """Path -> sha256 of everything below a run's `shards`."""
    folder = Path(run, "shards")
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
