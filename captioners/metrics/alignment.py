"""Captions against their images by a scorer's features: CLIPScore, RefCLIPScore and self-retrieval.

No model is known here. A scorer embeds pictures and texts in one space. It must be frozen and neither of the compared
captioners, for a captioner scored by its own tower is judge in its own cause; who offers one here has seen to that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captioners.core.errors import UserError
from captioners.metrics.metric import Metric

PREFIX = "A photo depicts "
"""What CLIPScore puts before every text."""
_WEIGHT = 2.5

Numbers = NDArray[np.float64]
Picture_contra = TypeVar("Picture_contra", contravariant=True)

_HESSEL = "Hessel et al. 2021 (arXiv 2104.08718)"
CLIP_SCORE = Metric(name="CLIPScore", unit="score", high=2.5, better="higher", source=_HESSEL)
REF_CLIP_SCORE = Metric(name="RefCLIPScore", unit="score", high=2, better="higher", source=_HESSEL)
BEST_CLIP_SCORE = Metric(
    name="CLIPScore, best of m",
    unit="score",
    high=2.5,
    better="higher",
    source=f"{_HESSEL}; the best of m captions, mean over choices",
)
SELF_RETRIEVAL = Metric(
    name="self-retrieval R@1",
    unit="share",
    high=1,
    better="higher",
    source="share of images that their caption finds among all; ties count against",
)
METRICS = (CLIP_SCORE, REF_CLIP_SCORE, BEST_CLIP_SCORE, SELF_RETRIEVAL)


class Scorer(Protocol[Picture_contra]):
    """Two callables into one space; features need not be of unit length."""

    @property
    def name(self) -> str:
        """What it is called where its numbers stand."""

    def image_features(self, pictures: Sequence[Picture_contra]) -> Numbers:
        """Return [B, D]."""

    def text_features(self, texts: Sequence[str]) -> Numbers:
        """Return [B, D] of the texts as given."""


@dataclass(frozen=True)
class Aligned:
    """One captioner's scores, image by image, float64 [B]."""

    clip_score: Numbers
    ref_clip_score: Numbers
    """nan where an image has no references."""
    found: Numbers
    """1 where the caption finds its own image first, else 0."""


def align(
    scorer: Scorer[Picture_contra], images: Numbers, captions: Sequence[str], references: Sequence[Sequence[str]]
) -> Aligned:
    """Score captions, one for each of the images whose features [B, D] are given."""
    texts = scorer.text_features([PREFIX + text for text in captions])
    flat = [PREFIX + text for of_image in references for text in of_image]
    told = scorer.text_features(flat) if flat else np.empty((0, np.shape(images)[1]))
    ends = np.cumsum([len(of_image) for of_image in references]).tolist()
    of_images = [told[end - len(of) : end] for end, of in zip(ends, references, strict=True)]
    return Aligned(clip_score(images, texts), ref_clip_score(images, texts, of_images), retrieved(images, texts, 1))


def clip_score(images: ArrayLike, texts: ArrayLike) -> Numbers:
    """Return 2.5 * max(cosine, 0) of each pair of features, [B, D] and [B, D] -> [B], from 0 to 2.5."""
    return np.asarray(_WEIGHT * np.clip(cosine(images, texts), 0, 1), dtype=np.float64)


def cosine(images: ArrayLike, texts: ArrayLike) -> Numbers:
    """Return the cosine of each pair of features, [B, D] and [B, D] -> [B], from -1 to 1."""
    one, other = _unit(images), _unit(texts)
    _same(one, other)
    return np.asarray(np.clip((one * other).sum(axis=1), -1, 1), dtype=np.float64)


def ref_clip_score(images: ArrayLike, texts: ArrayLike, references: Sequence[ArrayLike]) -> Numbers:
    """Return the harmonic mean of CLIPScore and the caption's best cosine with its image's references, [B].

    `references`: each image's [references, D]; nan where it has none. 0 where either part is 0.
    """
    scores, unit = clip_score(images, texts), _unit(texts)
    if len(references) != len(unit):
        raise UserError(f"references of each image are needed: {len(unit)} images, references of {len(references)}")
    found = np.full(len(unit), nan)
    for place, (score, text) in enumerate(zip(scores, unit, strict=True)):
        if len(np.asarray(references[place])):
            best = float(np.clip((_unit(references[place]) @ text).max(), 0, 1))
            found[place] = 2 * score * best / (score + best) if score and best else 0.0
    return found


def retrieved(images: ArrayLike, texts: ArrayLike, k: int) -> Numbers:
    """Return 1.0 where caption b finds image b among its best k of all B images, else 0.0, [B].

    The mean is self-retrieval R@k for a pool of B images. Ties count against: an image as near as its own is ahead.
    """
    one, other = _unit(images), _unit(texts)
    _same(one, other)
    if k < 1:
        raise UserError(f"R@{k}: k is 1 or more")
    # In float32 steps: the same picture twice must tie, whatever the order of the sum.
    near = (other @ one.T).astype(np.float32)
    return np.asarray((near >= near.diagonal()[:, None]).sum(axis=1) <= k, dtype=np.float64)


def _unit(features: ArrayLike) -> Numbers:
    array = np.asarray(features, dtype=np.float64)
    norms = np.linalg.norm(array, axis=-1, keepdims=True)
    if array.ndim != 2 or not np.isfinite(array).all() or not norms.all():
        raise UserError("features [B, D] of finite numbers, none of them all zero, are needed; check the scorer")
    return np.asarray(array / norms, dtype=np.float64)


def _same(one: Numbers, other: Numbers) -> None:
    if one.shape != other.shape:
        raise UserError(f"features of as many images as texts are needed, of one width: {one.shape}, {other.shape}")
