"""How alike the captions of an image are, pair by pair, by their n-grams: kernels [B, m, m], and what is read off them.

Self-CIDEr takes the kernel of plain CIDEr: no clipping, which can make a kernel that is none, and no punishment of
different lengths, which rewards length. Eigenvalues below zero are rounding, and become zero.
"""

import numpy as np

from captioners.metrics.against_references import likeness
from captioners.metrics.frequencies import LONGEST, HashedFrequencies
from captioners.metrics.hashed import Batch, Grams, Numbers, pooled
from captioners.metrics.metric import Metric

_WANG = "Wang & Chan 2019 (arXiv 1903.12020)"
SELF_CIDER = Metric(
    name="Self-CIDEr",
    unit="share",
    high=1,
    better="higher",
    source=f"{_WANG}; kernel of plain CIDEr, document frequencies of one fixed table",
)
SELF_CIDER_D = Metric(
    name="Self-CIDEr (CIDEr-D)",
    unit="share",
    high=1,
    better="higher",
    source=f"{_WANG}, as their code has it: kernel of CIDEr-D, clipped, which rewards other lengths and depends on the "
    "order of captions; for comparison, not in --all (captioners.metrics.streaming has it)",
)
LSA = Metric(name="LSA diversity", unit="share", high=1, better="higher", source=f"{_WANG}; counts of words, no idf")


def cider_kernel(batch: Batch, df: HashedFrequencies) -> Numbers:
    """Return CIDEr (0 to 10, as published, not as COCO's CIDEr-D) of each pair of an image's captions, [B, m, m].

    A caption too short for an n is unlike all others by it, as in COCO's code: two equal captions of 2 words get 5.
    """
    total = np.zeros((batch.images, batch.m, batch.m))
    for n in range(1, LONGEST + 1):
        grams = batch.grams(n)
        values = grams.times * df.weights(grams.hashes)
        total += gram_products(batch, grams, _unit(grams, values, batch.lengths.size))
    return np.asarray(10 * total / LONGEST, dtype=np.float64)


def cider_d_kernel(batch: Batch, df: HashedFrequencies) -> Numbers:
    """Return CIDEr-D of each pair of an image's captions, the earlier scored by the later, mirrored, [B, m, m]."""
    found = 10 * np.triu(likeness(pooled([batch, batch]), batch.m, df)) / LONGEST
    return np.asarray(np.maximum(found, found.transpose(0, 2, 1)), dtype=np.float64)


def count_kernel(batch: Batch) -> Numbers:
    """Return the products of the captions' counts of words, [B, m, m]."""
    grams = batch.grams(1)
    return gram_products(batch, grams, grams.times.astype(np.float64))


def cosine_kernel(batch: Batch) -> Numbers:
    """Return the cosines of the captions' counts of words, [B, m, m]; 1 of a caption with itself, also if empty."""
    grams = batch.grams(1)
    found = gram_products(batch, grams, _unit(grams, grams.times.astype(np.float64), batch.lengths.size))
    itself = np.arange(batch.m)
    found[:, itself, itself] = 1.0
    return found


def gram_products(batch: Batch, grams: Grams, values: Numbers) -> Numbers:
    """Return sums over n-grams of the products of two captions' values, one value an entry of `grams`, [B, m, m]."""
    m = batch.m
    image, k = np.divmod(grams.captions, max(1, m))
    cells = batch.images * m * m
    total = np.bincount(image * m * m + k * m + k, weights=values * values, minlength=cells)
    # Captions that share an n-gram stand side by side, each once: neighbours, then those two apart ...
    for apart in range(1, m):
        first = np.flatnonzero(grams.groups[:-apart] == grams.groups[apart:])
        if not len(first):
            break
        other = first + apart
        cell = image[first] * m * m + k[first] * m + k[other]
        total += np.bincount(cell, weights=values[first] * values[other], minlength=cells)
    found = total.reshape(batch.images, m, m)
    # Only pairs j <= k were met.
    return np.asarray(np.maximum(found, found.transpose(0, 2, 1)), dtype=np.float64)


def _unit(grams: Grams, values: Numbers, captions: int) -> Numbers:
    """Return values divided by the norm of their caption's; 0 where that is 0."""
    norms = np.sqrt(np.bincount(grams.captions, weights=values * values, minlength=captions))[grams.captions]
    return np.asarray(np.divide(values, norms, out=np.zeros_like(values), where=norms > 0), dtype=np.float64)


def eigen_diversity(kernels: Numbers) -> Numbers:
    """Return -log_m of the largest share of the roots of a kernel's eigenvalues, [B, m, m] -> [B].

    0: all alike; 1: nothing in common. nan where m = 1 or nothing is known of any caption.
    """
    m = kernels.shape[-1]
    if m < 2:
        return np.full(len(kernels), np.nan)
    roots = np.sqrt(eigenvalues(kernels))
    whole = roots.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = -np.log(roots.max(axis=-1) / whole) / np.log(m)
    return np.asarray(np.where(whole > 0, np.clip(found, 0, 1), np.nan), dtype=np.float64)


def eigenvalues(kernels: Numbers) -> Numbers:
    """Return the eigenvalues of symmetric kernels, [B, m, m] -> [B, m], rounding noise set to 0."""
    if not kernels.size:
        return np.zeros(kernels.shape[:-1])
    found = np.linalg.eigvalsh(kernels)
    noise = found.shape[-1] * np.finfo(np.float64).eps * np.abs(found).max(axis=-1, keepdims=True)
    return np.asarray(np.where(found > noise, found, 0.0), dtype=np.float64)
