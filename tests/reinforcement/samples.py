"""Samples of captioned and reinforced shards, made by hand."""

import gzip
import io
import json

import numpy as np
import torch

BOX = [[98, 42, 376, 439], [[9, -0.27], [3, -30.5]]]


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def pth(**arrays):
    file = io.BytesIO()
    torch.save({name: torch.tensor(one).to(torch.bfloat16) for name, one in arrays.items()}, file)
    return gzip.compress(file.getvalue(), mtime=0)


def table(rows, width=6, seed=0):
    return np.random.Generator(np.random.PCG64(seed)).normal(size=(rows, width)).astype(np.float32)


def captioned(**more):
    """A captioned sample, sorted as our writer does; extensions with a dot as `syn_json=`, None takes one away."""
    members = {
        "jpg": b"\xff\xd8\xff picture",
        "json": json.dumps({"uid": "0001", "width": 3}).encode(),
        "syn.json": json.dumps({"syn_text": ["a dog", "a black dog"]}).encode(),
        "txt": "ein größerer Hund".encode(),
        "url.txt": b"https://example.org/1.jpg",
    }
    members |= {name.replace("_", "."): data for name, data in more.items()}
    return {name: members[name] for name in sorted(members) if members[name] is not None}


def reinforced(layout="split", bfloat16=False, **more):
    """A reinforced sample: 3 augmentations, 1 caption of its own, 2 of ours."""
    arrays = {"image_emb": table(3)}
    arrays |= {"text_emb": table(3)} if layout == "legacy" else {"text_emb": table(1), "syn_text_emb": table(2)}
    file = {"pth_gz": pth(**arrays)} if bfloat16 else {"npz": npz(**arrays)}
    return captioned(**{"paug_json": json.dumps({"param_aug": [BOX] * 3}).encode(), **file, **more})
