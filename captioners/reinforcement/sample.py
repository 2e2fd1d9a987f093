"""One sample of a captioned or reinforced shard, parsed into what training takes, or refused with the trap's name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from captioners.core.errors import UserError
from captioners.data.texts import BadSampleError, texts
from captioners.reinforcement.contract_texts import read_object
from captioners.reinforcement.embeddings import Rows, read
from captioners.reinforcement.members import AUG, AUG_KEY, IMAGE_EMB, NPZ, PTH, SYN, TEXT
from captioners.reinforcement.sampling import Sampling, matching

IMAGES = ("jpg", "png", "jpeg", "webp")
"""Extensions that the trainer takes for the picture, the first of them that is there."""


@dataclass(frozen=True)
class Stored:
    """What the embedding stage wrote."""

    augmentations: list[Any]
    """Elements of `param_aug`."""
    arrays: dict[str, Rows]
    """Rows of `image_emb` are of `augmentations`, in order; all are of one width."""

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return int(self.arrays[IMAGE_EMB].shape[1])


@dataclass(frozen=True)
class Sample:
    """A sample to train on."""

    image: bytes
    text: str
    syn: dict[str, list[str]]
    """Synthetic captions by key: those that the sampling's expression matches."""


def parse(key: str, members: Mapping[str, bytes], sampling: Sampling) -> Sample:
    """Return picture and captions; BadSampleError, with the trap's name, for what training would stop at."""
    image = next((members[name] for name in IMAGES if name in members), None)
    if image is None:
        raise BadSampleError("no_image", f"{key}: no picture ({', '.join(members)}); join the set that has it")
    if TEXT not in members:
        raise BadSampleError("no_text", f"{key}: no {TEXT}, the caption that came with it; join the set that has it")
    try:
        text = members[TEXT].decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadSampleError("not_utf8", f"{key}.{TEXT}: not UTF-8 (byte {error.start}); write it again") from None
    return Sample(image, text, {} if sampling.syn_keys is None else _syn(key, members, sampling))


def parse_stored(key: str, members: Mapping[str, bytes]) -> Stored:
    """Return augmentations and embeddings, of `npz` where both forms are there; BadSampleError as `parse`."""
    augmentations = _object(key, AUG, members, "no_paug", "reinforce the set (captioners reinforce)").get(AUG_KEY)
    if not isinstance(augmentations, list) or not augmentations:
        raise BadSampleError("paug", f"{key}.{AUG}: its {AUG_KEY} is no list of augmentations; reinforce it anew")
    extension = next((name for name in (NPZ, PTH) if name in members), None)
    if extension is None:
        raise BadSampleError("no_emb", f"{key}: neither {NPZ} nor {PTH}; reinforce the set (captioners reinforce)")
    try:
        arrays = read(f"{key}.{extension}", members[extension])
    except UserError as error:
        raise BadSampleError("unreadable_emb", str(error)) from None
    if len(widths := {table.shape[1] for table in arrays.values()}) > 1:
        found = f"embeddings of different widths ({', '.join(map(str, sorted(widths)))})"
        raise BadSampleError("emb_shape", f"{key}.{extension}: {found}; reinforce it anew")
    rows = len(arrays.get(IMAGE_EMB, ()))
    if rows != len(augmentations):
        found = f"{rows} rows of {IMAGE_EMB} for {len(augmentations)} augmentations"
        raise BadSampleError("emb_rows", f"{key}.{extension}: {found}; reinforce it anew")
    return Stored(augmentations, arrays)


def _syn(key: str, members: Mapping[str, bytes], sampling: Sampling) -> dict[str, list[str]]:
    captions = _object(key, SYN, members, "no_syn", "export the run's captions (captioners export)")
    name = f"{key}.{SYN}"
    keys = matching(sampling, captions)
    if not keys:
        found = f"no key matches {sampling.syn_keys!r} ({', '.join(captions) or 'there is none'})"
        raise BadSampleError("no_syn", f"{name}: {found}; change syn_keys")
    for one in keys:
        listed = captions[one]
        if not isinstance(listed, list) or not listed or not all(isinstance(text, str) and text for text in listed):
            trap = "empty_list" if listed == [] else "not_a_list" if not isinstance(listed, list) else "not_text"
            raise BadSampleError(trap, f"{name}: {one} is no list of texts ({json.dumps(listed)[:60]}); export it anew")
        texts(listed)
    return {one: captions[one] for one in keys}


def _object(key: str, extension: str, members: Mapping[str, bytes], absent: str, remedy: str) -> dict[str, Any]:
    name = f"{key}.{extension}"
    if extension not in members:
        raise BadSampleError(absent, f"{name} is missing; {remedy}")
    value, problem = read_object(name, members[extension])
    if problem is not None:
        raise BadSampleError(problem.trap, str(problem))
    return value
