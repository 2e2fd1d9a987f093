"""One captioned sample on its way to a reinforced one: what is to be embedded of it, and the members it then has."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import ImageError, InterruptedRunError, UserError
from captioners.data.raw_samples import RawSample
from captioners.images.decode import read_image
from captioners.images.preprocess import chw
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.reinforcement import embeddings
from captioners.reinforcement.augmentation import draw, replay
from captioners.reinforcement.contract import (
    AUG,
    AUG_KEY,
    EMB,
    IMAGE,
    IMAGE_EMB,
    NPZ,
    PTH,
    SYN,
    SYN_KEY,
    TEXT,
    TEXT_EMB,
    is_syn_key,
    problems,
)
from captioners.reinforcement.embeddings import Rows

_HARMLESS = ("too_long", "emb_missing", "legacy_keys")
"""Traps that are none here: what is too long is cut by the teachers' tokenizers as by a trainer's, and captions that an
embedded sample was given since are what this job is about."""

_SAME = 0.99
"""Cosine at least of a teacher's embedding with itself, stored as bfloat16 and made on another machine."""


class UnfitError(Exception):
    """A sample that cannot be reinforced; `reason` is a word for its quarantine record."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


@dataclass
class Prepared:
    """A sample whose picture is decoded and augmented, and whose captions wait to be embedded."""

    raw: RawSample
    members: dict[str, bytes]
    """Those that stay as they are."""
    crops: dict[int, NDArray[np.uint8]]
    """Input size -> [n_aug, 3, size, size], until they are in their group's; none where `known` has its embeddings."""
    texts: list[str]
    """The caption that came with it, then those of each key that lacks embeddings."""
    captions: dict[str, int]
    """Each key of captions -> how many."""
    missing: list[str]
    """The keys among them that are to be embedded."""
    known: Mapping[str, Rows] = field(default_factory=dict)
    """The embeddings that it has already."""


def prepare(raw: RawSample, recipe: ReinforceRecipe, sizes: list[int]) -> Prepared:
    """Return what is to be embedded of a sample, its crops at each of the teachers' `sizes`.

    Raises:
        UnfitError: the sample cannot be reinforced. InterruptedRunError: this installation lacks a codec.
    """
    bare = {name: raw.members[name] for name in sorted(raw.members) if name not in (AUG, NPZ, PTH)}
    embedded = len(bare) < len(raw.members)
    for problem in problems(raw.key, raw.members if embedded else bare):
        if problem.trap not in _HARMLESS:
            raise UnfitError(problem.trap, f"{raw.shard}: {problem}")
    syn = {key: texts for key, texts in json.loads(bare[SYN]).items() if is_syn_key(key)}
    members = bare | ({AUG: raw.members[AUG]} if embedded else {})
    found = Prepared(raw, members, {}, [bare[TEXT].decode()], {key: len(syn[key]) for key in syn}, list(syn))
    if embedded:
        name = NPZ if NPZ in raw.members else PTH
        found.known = embeddings.read(f"{raw.name}.{name}", raw.members[name])
        legacy = len(found.known[TEXT_EMB]) > 1
        found.missing = [key for key in syn if (key != SYN_KEY if legacy else key + EMB not in found.known)]
    else:
        _augment(found, recipe, sizes)
    found.texts += [text for key in found.missing for text in syn[key]]
    return found


def _augment(found: Prepared, recipe: ReinforceRecipe, sizes: list[int]) -> None:
    raw, augmentation = found.raw, recipe.image_augmentation.drawn_from()
    try:
        picture = read_image(raw.members[IMAGE], "as_trained", recipe.max_pixels, f"{raw.name}.{IMAGE}")
    except ImageError as error:
        if error.reason == "missing_codec":
            raise InterruptedRunError(f"{error}; then run the same command again: what is stored stays") from None
        raise UnfitError(error.reason, str(error)) from None
    width, height, sha = picture.width, picture.height, picture.sha256
    params = [draw(augmentation, width, height, recipe.seed, sha, k) for k in range(recipe.n_aug)]
    for size in sizes:
        views = [chw(replay(picture.image, one, augmentation, size)) for one in params]
        found.crops[size] = np.stack(views)
    found.members[AUG] = json.dumps({AUG_KEY: params}).encode()


def finish(
    found: Prepared, images: Rows | None, texts: Rows, recipe: ReinforceRecipe, dims: list[int]
) -> dict[str, bytes]:
    """Return all members of the reinforced sample, given the rows of its crops (None: it has them) and `texts`.

    Raises:
        UnfitError: its own embeddings were not made by these teachers. UserError: the layout cannot hold its captions.
    """
    if images is None:
        _check_known(found, texts, dims)
        images = found.known[IMAGE_EMB]
    own, rest = texts[:1], texts[1:]
    syn: dict[str, Rows] = {}
    for key, count in found.captions.items():
        if key in found.missing:
            syn[key], rest = rest[:count], rest[count:]
        else:
            own, syn[key] = embeddings.text_rows(found.known, 1, key, count)
    arrays = (embeddings.split if recipe.layout == "split" else embeddings.legacy)(images, own, syn)
    if recipe.dtype == "float32":
        return {**found.members, NPZ: embeddings.to_npz(arrays)}
    return {**found.members, PTH: embeddings.to_pth_gz(arrays)}


def _check_known(found: Prepared, texts: Rows, dims: list[int]) -> None:
    """Raise UnfitError if the embedding that a sample has of its own caption is another than these teachers'."""
    there, name = found.known[TEXT_EMB], f"{found.raw.name}.{TEXT_EMB}"
    advice = "name the teachers it was embedded by, or take its embeddings out to have all made anew"
    if there.shape[1] != sum(dims):
        what = f"its embeddings are {there.shape[1]} wide, these teachers' {sum(dims)}"
        raise UnfitError("other_teachers", f"{name}: {what}; {advice}")
    start = 0
    for number, dim in enumerate(dims):
        block = slice(start, start + dim)
        start += dim
        cosine = float(there[0, block] @ texts[0, block] / max(float(np.linalg.norm(there[0, block])), 1e-9))
        if cosine < _SAME:
            what = f"teacher {number + 1} says another thing of its caption (cosine {cosine:.2f})"
            raise UnfitError("other_teachers", f"{name}: {what}; {advice}")


def record(shard: str, key: str, index: int, reason: str, error: str, offset: int | None = None) -> dict[str, Any]:
    """Return a quarantine record."""
    return {"shard": shard, "key": key, "index": index, "reason": reason, "error": error, "offset": offset}


def unfit(raw: RawSample, error: Exception) -> dict[str, Any]:
    """Return the record of a sample that could not be reinforced."""
    reason = error.reason if isinstance(error, UnfitError) else "unreadable"
    return record(raw.shard, raw.key, raw.index, reason, str(error))


UNFIT = (UnfitError, UserError)
"""What `prepare` raises of a sample; anything else is the machine's or ours."""
