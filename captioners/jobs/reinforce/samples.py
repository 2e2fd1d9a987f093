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

_HARMLESS = ("too_long", "emb_missing", "emb_rows", "legacy_keys")
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
    """The caption that came with it, then those of each key."""
    captions: dict[str, int]
    """Each key of captions -> how many."""
    known: Mapping[str, Rows] = field(default_factory=dict)
    """The embeddings that it has already."""
    missing: frozenset[str] = frozenset()
    """Keys of captions that are not among them, or not as many."""
    stale: int = 0
    """Captions of keys that are among them in another number."""


@dataclass(frozen=True)
class Finished:
    """A reinforced sample."""

    members: dict[str, bytes]
    renewed: int = 0
    """Embeddings that it had of captions that are other ones now."""


def prepare(raw: RawSample, recipe: ReinforceRecipe, sizes: list[int]) -> Prepared:
    """Return what is to be embedded of a sample, its crops at each of the teachers' `sizes`.

    Raises:
        UnfitError: the sample cannot be reinforced. InterruptedRunError: this installation lacks a codec.
    """
    written = {name: raw.members[name] for name in sorted(raw.members)}  # in which order they will be read
    bare = {name: data for name, data in written.items() if name not in (AUG, NPZ, PTH)}
    embedded = len(bare) < len(raw.members)
    for problem in problems(raw.key, written):
        if problem.trap not in _HARMLESS:
            raise UnfitError(problem.trap, f"{raw.shard}: {problem}")
    syn = {key: texts for key, texts in json.loads(bare[SYN]).items() if is_syn_key(key)}
    if recipe.layout == "legacy" and list(syn) != [SYN_KEY]:
        what = f"has captions of {', '.join(syn)}, and layout legacy holds those of {SYN_KEY} alone"
        raise UnfitError("legacy_keys", f"{raw.name}.{SYN}: {what}; export it with another tag, or say layout=split")
    members = bare | ({AUG: raw.members[AUG]} if embedded else {})
    texts = [bare[TEXT].decode(), *(text for listed in syn.values() for text in listed)]
    found = Prepared(raw, members, {}, texts, {key: len(syn[key]) for key in syn})
    if embedded:
        if (count := len(json.loads(raw.members[AUG])[AUG_KEY])) != recipe.n_aug:
            what = f"has {count} augmentations, which stay as they are embedded, and n_aug says {recipe.n_aug}"
            raise UnfitError("other_augmentations", f"{raw.name}.{AUG}: {what}; take them out to have all made anew")
        name = NPZ if NPZ in raw.members else PTH
        found.known = embeddings.read(f"{raw.name}.{name}", raw.members[name])
        if (rows := len(found.known[IMAGE_EMB])) != count:
            raise UnfitError("emb_rows", f"{raw.name}.{name}: {rows} rows of {IMAGE_EMB} for {count} augmentations")
        legacy = len(found.known[TEXT_EMB]) - 1
        stored = {SYN_KEY: legacy} if legacy else {key: len(found.known.get(key + EMB, ())) for key in syn}
        found.missing = frozenset(key for key, number in found.captions.items() if stored.get(key) != number)
        found.stale = sum(found.captions[key] for key in found.missing if stored.get(key))
    else:
        _augment(found, recipe, sizes)
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


def finish(found: Prepared, images: Rows | None, texts: Rows, recipe: ReinforceRecipe, dims: list[int]) -> Finished:
    """Return the reinforced sample, given the rows of its crops (None: it has them) and of all its `texts`.

    Rows that it has stay where they say the same of a caption; where its captions were replaced, they are renewed.

    Raises:
        UnfitError: its own embeddings were not made by these teachers.
    """
    own, rest = texts[:1], texts[1:]
    if images is None:
        _check_known(found, own, dims)
        own, images = found.known[TEXT_EMB][:1], found.known[IMAGE_EMB]
    syn: dict[str, Rows] = {}
    renewed = found.stale
    for key, count in found.captions.items():
        syn[key], rest = rest[:count], rest[count:]
        if found.known and key not in found.missing:
            _, there = embeddings.text_rows(found.known, 1, key, count)
            same = np.min(_cosines(there, syn[key], dims), axis=1, keepdims=True) >= _SAME
            syn[key], renewed = np.where(same, there, syn[key]), renewed + int(np.sum(~same))
    arrays = (embeddings.split if recipe.layout == "split" else embeddings.legacy)(images, own, syn)
    if recipe.dtype == "float32":
        return Finished({**found.members, NPZ: embeddings.to_npz(arrays)}, renewed)
    return Finished({**found.members, PTH: embeddings.to_pth_gz(arrays)}, renewed)


def _check_known(found: Prepared, own: Rows, dims: list[int]) -> None:
    """Raise UnfitError if the embedding that a sample has of its own caption is another than these teachers'."""
    there, name = found.known[TEXT_EMB], f"{found.raw.name}.{TEXT_EMB}"
    advice = "name the teachers it was embedded by, or take its embeddings out to have all made anew"
    if there.shape[1] != sum(dims):
        what = f"its embeddings are {there.shape[1]} wide, these teachers' {sum(dims)}"
        raise UnfitError("other_teachers", f"{name}: {what}; {advice}")
    for number, cosine in enumerate(_cosines(there[:1], own, dims)[0]):
        if cosine < _SAME:
            what = f"teacher {number + 1} says another thing of its caption (cosine {cosine:.2f})"
            raise UnfitError("other_teachers", f"{name}: {what}; {advice}")


def _cosines(there: Rows, said: Rows, dims: list[int]) -> Rows:
    """Return the cosines [rows, teachers] of stored rows with those of unit blocks that teachers say now."""
    ends = np.cumsum(dims)[:-1]
    pairs = zip(np.split(there, ends, axis=1), np.split(said, ends, axis=1), strict=True)
    return np.stack([(a * b).sum(axis=1) / np.maximum(np.linalg.norm(a, axis=1), 1e-9) for a, b in pairs], axis=1)


def record(shard: str, key: str, index: int, reason: str, error: str, offset: int | None = None) -> dict[str, Any]:
    """Return a quarantine record."""
    return {"shard": shard, "key": key, "index": index, "reason": reason, "error": error, "offset": offset}


def unfit(raw: RawSample, error: Exception) -> dict[str, Any]:
    """Return the record of a sample that could not be reinforced."""
    reason = error.reason if isinstance(error, UnfitError) else "unreadable"
    return record(raw.shard, raw.key, raw.index, reason, str(error))


UNFIT = (UnfitError, UserError)
"""What `prepare` raises of a sample; anything else is the machine's or ours."""
