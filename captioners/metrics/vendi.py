"""The Vendi score: how many different captions there are in effect; and, across captioners, how many captioners.

VS = exp(-sum l ln l) of the eigenvalues l of K / m, for a kernel K [m, m] of likeness with ones on its diagonal. The
value is mostly a choice of kernel, so it is compared at one kernel and equal m.

Partition: alpha is what one captioner brings, gamma what all together do, beta = gamma / alpha how many captioners
there are in effect, from 1 (interchangeable) to their number (nothing in common). The von Neumann entropy is concave,
and by Holevo's bound gains at most the entropy of the captioners' shares, so beta never leaves this range.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from captioners.core.errors import UserError
from captioners.metrics.hashed import Numbers, Whole
from captioners.metrics.kernels import eigenvalues
from captioners.metrics.metric import Metric

_FRIEDMAN = "Friedman & Dieng 2023 (arXiv 2210.02410)"
VENDI_WORDS = Metric(
    name="Vendi (words)",
    unit="captions",
    low=1,
    better="higher",
    source=f"{_FRIEDMAN}; kernel: cosine of counts of words",
)
VENDI_TEXT = Metric(
    name="Vendi (embedding)",
    unit="captions",
    low=1,
    better="higher",
    source=f"{_FRIEDMAN}; kernel: cosine of a text encoder's vectors",
)
_PARTITION = "alpha, beta, gamma of Vendi scores, after Jost 2007"
ALPHA = Metric(name="Vendi alpha", unit="captions", low=1, better="higher", source=f"{_PARTITION}: one captioner")
BETA = Metric(name="Vendi beta", unit="captioners", low=1, better="higher", source=f"{_PARTITION}: gamma / alpha")
GAMMA = Metric(name="Vendi gamma", unit="captions", low=1, better="higher", source=f"{_PARTITION}: all together")


def vendi(kernels: Numbers) -> Numbers:
    """Return each kernel's Vendi score, [..., m, m] -> [...], from 1 to m; ones must stand on the diagonals."""
    return np.asarray(np.exp(_entropy(kernels)), dtype=np.float64)


def vendi_of_some(kernels: Numbers, choices: Sequence[Whole]) -> Numbers:
    """Return the mean Vendi score over choices of each image's captions (`rarefaction.subsets`), [B, M, M] -> [B]."""
    total = np.zeros(len(kernels))
    for chosen in choices:
        total += vendi(kernels[np.arange(len(kernels))[:, None, None], chosen[:, :, None], chosen[:, None, :]])
    return total / len(choices)


def _entropy(kernels: Numbers) -> Numbers:
    m = kernels.shape[-1]
    if not m:
        return np.full(kernels.shape[:-2], np.nan)
    shares = eigenvalues(kernels) / m
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    # What rounding takes below 0 or beyond ln m is none of the kernel's.
    return np.asarray(np.clip(-(shares * logs).sum(axis=-1), 0, np.log(m)), dtype=np.float64)


@dataclass(frozen=True)
class Partition:
    """Image by image, float64 [B] each."""

    alpha: Numbers
    """Captions in effect of one captioner: the geometric mean, by their shares of the captions."""
    beta: Numbers
    """Captioners in effect."""
    gamma: Numbers
    """Captions in effect of all."""


def partition(kernels: Numbers, counts: Sequence[int]) -> Partition:
    """Split the diversity of pooled captions into that within and that between captioners.

    Args:
        kernels: [B, M, M], the captions of the first captioner first. counts: how many each has; their sum is M.

    Raises:
        UserError: the counts are not those of the kernel.
    """
    if sum(counts) != kernels.shape[-1] or any(count < 1 for count in counts):
        raise UserError(f"a kernel of {kernels.shape[-1]} captions has not {' + '.join(map(str, counts))} of them")
    within, start = np.zeros(kernels.shape[:-2]), 0
    for count in counts:
        part = slice(start, start + count)
        within += count / kernels.shape[-1] * _entropy(kernels[..., part, part])
        start += count
    whole = _entropy(kernels)
    return Partition(np.exp(within), np.exp(whole - within), np.exp(whole))
