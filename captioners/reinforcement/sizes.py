"""How large a reinforced shard becomes, before anything is embedded: one sample of noise is packed as it will be.

What a trained teacher says is noise to a compressor, too: its exponents are those of coordinates of unit vectors, and
its mantissas are random.
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from captioners.core.seeds import uniforms
from captioners.reinforcement import embeddings
from captioners.reinforcement.augmentation import Augmentation, draw
from captioners.reinforcement.contract import AUG_KEY
from captioners.reinforcement.embeddings import Rows

_BLOCK = 512
"""Bytes that a tar is made of."""
_PICTURE = (640, 480)
"""Width and height of a usual picture: how many digits the boxes of its crops have."""


def added_bytes(
    dims: Sequence[int],
    n_aug: int,
    captions: Mapping[str, int],
    dtype: str = "float32",
    layout: str = "split",
    augmentation: Augmentation | None = None,
) -> int:
    """Return the bytes that a reinforced sample has more than its captioned one, in the tar.

    Args:
        dims: width of each teacher's block. captions: each key of captions -> how many.
    """
    rows = n_aug + 1 + sum(captions.values())
    table = np.concatenate([_noise(rows, dim, number) for number, dim in enumerate(dims)], axis=1)
    image, own, rest = table[:n_aug], table[n_aug : n_aug + 1], table[n_aug + 1 :]
    syn: dict[str, Rows] = {}
    for key, count in captions.items():
        syn[key], rest = rest[:count], rest[count:]
    arrays = (embeddings.split if layout == "split" else embeddings.legacy)(image, own, syn)
    packed = embeddings.to_npz(arrays) if dtype == "float32" else embeddings.to_pth_gz(arrays)
    drawn = [draw(augmentation or Augmentation(), *_PICTURE, 0, "size", k) for k in range(n_aug)]
    return _member(len(packed)) + _member(len(json.dumps({AUG_KEY: drawn})))


def _member(size: int) -> int:
    return _BLOCK + -(-size // _BLOCK) * _BLOCK


def _noise(rows: int, dim: int, number: int) -> Rows:
    """Return [rows, dim] of unit length, evenly spread over directions."""
    drawn = uniforms(rows * dim * 2, "size", number).reshape(2, rows, dim)
    normal = np.sqrt(-2 * np.log1p(-drawn[0])) * np.cos(2 * np.pi * drawn[1])  # Box and Muller 1958
    unit: Rows = (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)
    return unit
