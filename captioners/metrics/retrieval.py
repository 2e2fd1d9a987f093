"""Self-retrieval with several captions of each image: which of them find their image again in a pool of fixed size.

The scorer must be frozen and no captioner's own (see `alignment`). A pool has a stated size, for the number falls with
it, and so the work is linear in the images. Captioners trained to be found again hallucinate more (Gaur et al. 2024,
arXiv 2409.03025): read it with faithfulness.
"""

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captioners.core.errors import UserError
from captioners.metrics.embedded import unit_vectors
from captioners.metrics.hashed import Numbers, Whole
from captioners.metrics.metric import Metric

POOL = 1000
"""Images of a pool, the caption's own among them."""


def mean_recall(k: int, pool: int) -> Metric:
    """Return the metric of the share of an image's captions that find it."""
    return Metric(
        name=f"self-retrieval R@{k} of {pool}",
        unit="share",
        high=1,
        better="higher",
        source=f"share of captions that find their image among the best {k} of {pool:,}; ties count against",
    )


def union_recall(k: int, pool: int) -> Metric:
    """Return the metric of whether any of an image's captions finds it."""
    return Metric(
        name=f"self-retrieval union R@{k} of {pool}",
        unit="share",
        high=1,
        better="higher",
        source=f"share of images that some caption of theirs finds among the best {k} of {pool:,}; ties count against",
    )


@dataclass(frozen=True)
class Retrieved:
    """What captions found."""

    ranks: Whole
    """Images of the pool that are as near as the caption's own or nearer, itself included, [B, m]."""
    first: Whole
    """The image that a caption finds first, by its place, [B, m]: whether the caption is true of it is for a judge."""
    pool: int
    """Images of each pool."""

    def mean(self, k: int) -> Numbers:
        """Return the share of an image's captions that find it among the best k, [B]."""
        return np.asarray((self.ranks <= k).mean(axis=1), dtype=np.float64)

    def union(self, k: int) -> Numbers:
        """Return 1 where any caption finds its image among the best k, else 0, [B]; grows with m."""
        return np.asarray((self.ranks <= k).any(axis=1), dtype=np.float64)


def retrieve(images: ArrayLike, texts: ArrayLike, pool: int = POOL) -> Retrieved:
    """Rank each caption's own image in its pool.

    Args:
        images: features [B, D], in an order that has nothing to do with what is on them (such as that of hashed keys):
            pools are runs of it; the last is filled up with the first images, which are only looked for there.
        texts: features [B, m, D]. pool: images of a pool; of fewer images, all.

    Raises:
        UserError: features that do not fit.
    """
    pictures, captions = unit_vectors(np.asarray(images)[:, None])[:, 0], unit_vectors(texts)
    if len(pictures) != len(captions) or pictures.shape[-1] != captions.shape[-1] or pool < 1:
        raise UserError(
            f"features of as many images as texts are needed, of one width: {pictures.shape}, {captions.shape}"
        )
    size = min(pool, len(pictures))
    ranks: list[NDArray[np.int64]] = []
    first: list[NDArray[np.int64]] = []
    for start in range(0, len(pictures), max(1, size)):
        mine = np.arange(start, min(start + size, len(pictures)))
        everyone = np.arange(start, start + size) % len(pictures)
        # In float32 steps: the same picture twice must tie, whatever the order of the sum.
        near = (captions[mine] @ pictures[everyone].T).astype(np.float32)
        own = near[np.arange(len(mine)), :, np.arange(len(mine))]
        ranks.append((near >= own[:, :, None]).sum(axis=-1))
        first.append(everyone[near.argmax(axis=-1)])
    empty = np.zeros((0, captions.shape[1]), dtype=np.int64)
    return Retrieved(np.concatenate([empty, *ranks]), np.concatenate([empty, *first]), size)


def best_of(scores: ArrayLike, m: int) -> Numbers:
    """Return the mean, over all choices of m of an image's captions, of the best one's score, [B, M] -> [B].

    In closed form: the i-th smallest of M is the best of C(i - 1, m - 1) of the C(M, m) choices.

    Raises:
        UserError: m is not 1 to M.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=1)
    made = ordered.shape[1]
    if not 1 <= m <= made:
        raise UserError(f"the best of {m} captions: an image has {made}; ask for 1 to {made}")
    shares = np.array([comb(place, m - 1) / comb(made, m) for place in range(made)])
    return np.asarray((ordered * shares).sum(axis=1), dtype=np.float64)
