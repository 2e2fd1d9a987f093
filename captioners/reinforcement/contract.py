"""What a shard may hold so that Apple's reader and trainer take it (`mobileclip-dr`), as rules over one sample.

    KEY.jpg       the picture's own bytes            KEY.syn.json   {"syn_text": [n captions], "syn_text_TAG": [...]}
    KEY.txt       the caption that came with it      KEY.paug.json  {"param_aug": [n_aug augmentations]}
    KEY.url.txt   where it was                       KEY.npz        arrays image_emb, text_emb, KEY_OF_SYN_emb, float32
    KEY.json      an object of anything else         KEY.pth.gz     the same as bfloat16 tensors, gzip of torch.save

The reader merges every *.json into one flat sample, takes what stands before the first dot of a name for the key, and
gives up the whole shard at an extension that it does not know; the trainer gives up the whole run at a sample that it
cannot use. So each trap has a name here, and `captioners verify SHARDS --target mobileclip-dr` looks for all of them.
"""

from collections.abc import Mapping

from captioners.reinforcement.contract_arrays import problems_of_arrays
from captioners.reinforcement.contract_texts import problems_of_texts
from captioners.reinforcement.members import (
    AUG,
    AUG_KEY,
    EMB,
    EXTENSIONS,
    IMAGE,
    IMAGE_EMB,
    META,
    META_KEY,
    NPZ,
    PTH,
    SYN,
    SYN_KEY,
    TEXT,
    TEXT_EMB,
    URL,
    Problem,
    is_syn_key,
    problem_of_name,
)

__all__ = [
    "AUG", "AUG_KEY", "EMB", "EXTENSIONS", "IMAGE", "IMAGE_EMB", "META", "META_KEY", "NPZ", "PTH", "SYN", "SYN_KEY",
    "TEXT", "TEXT_EMB", "URL", "Problem", "is_syn_key", "problems",
]  # fmt: skip


def problems(key: str, members: Mapping[str, bytes]) -> list[Problem]:
    """Return every trap of one sample; `members` maps extensions to bytes in the order of the tar.

    Members that no rule reads are not touched, and nothing is unpickled. A `pth.gz` needs torch, which is loaded then.
    """
    names = [problem_of_name(f"{key}.{extension}") for extension in members]
    texts, captions = problems_of_texts(key, members)
    arrays = problems_of_arrays(key, members, captions)
    return [*(one for one in names if one is not None), *texts, *arrays]
