"""Sampling with one uniform number a row and step: temperature, top-k, nucleus, min-p, then the CDF inverted.

In vocabulary order, not in sorted order: rounding cannot then change which token a number means when two probabilities
nearly tie. Sources: top-k, Fan et al. 2018 (arXiv 1805.04833); nucleus, Holtzman et al. 2019 (arXiv 1904.09751);
min-p, arXiv 2407.01082.
"""

import numpy as np
import torch
from torch import Tensor

from captioners.decoding.values import Sample

_HEAD = 64
"""Most nuclei of a trained captioner are narrower than this, so their edge is found without sorting the vocabulary."""
_BISECTIONS = 31


def filtered(scores: Tensor, options: Sample) -> Tensor:
    """Return the weights [n, V] that `options` leaves of the scores [n, V]: 0 outside the filters, any total inside.

    The order is temperature, top_k, top_p, min_p, each over what the one before left (as `transformers` does, and
    unlike open_clip, which divides by the temperature last, so that it cannot widen the nucleus). Tokens tied at an
    edge are all kept.
    """
    if options.temperature != 1.0:
        scores = scores / options.temperature
    if options.top_k is not None and options.top_k < scores.shape[1]:
        edge = scores.topk(options.top_k, dim=1).values[:, -1:]
        scores = scores.masked_fill(scores < edge, float("-inf"))
    weights = scores.softmax(dim=1)
    if options.top_p is not None and options.top_p < 1.0:
        weights = weights * (weights >= nucleus_edge(weights, options.top_p))
    if options.min_p is not None:
        weights = weights * (weights >= options.min_p * weights.amax(dim=1, keepdim=True))
    return weights


def nucleus_edge(weights: Tensor, top_p: float) -> Tensor:
    """Return the least probability [n, 1] in each row's nucleus, the fewest top tokens whose mass reaches `top_p`."""
    if weights.device.type != "cpu":
        return _edge_by_bisection(weights, top_p)
    head = weights.topk(min(_HEAD, weights.shape[1]), dim=1).values
    edge, reached = _edge_of_sorted(head, top_p)
    wide = (~reached).nonzero()[:, 0]
    if len(wide):  # the whole row in order, values only: numpy's vectorised sort is ten times torch's
        ordered = torch.from_numpy(np.sort(weights[wide].numpy(), axis=1)[:, ::-1].copy())
        edge[wide] = _edge_of_sorted(ordered, top_p)[0]
    return edge


def _edge_of_sorted(ordered: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    mass = ordered.cumsum(dim=1, dtype=torch.float64)
    inside = (mass < top_p).sum(dim=1, keepdim=True)  # tokens before the one that reaches top_p
    reached = inside[:, 0] < ordered.shape[1]
    return ordered.gather(1, inside.clamp(max=ordered.shape[1] - 1)), reached


def _edge_by_bisection(weights: Tensor, top_p: float) -> Tensor:
    """Find the same edge without sorting or the host: bisect over the bits of a float, which order as the floats do."""
    low = torch.zeros(weights.shape[0], 1, dtype=torch.int32, device=weights.device)
    high = torch.full_like(low, 0x3F800001)  # just above 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) // 2
        mass = (weights * (weights >= middle.view(torch.float32))).sum(dim=1, keepdim=True, dtype=torch.float64)
        enough = mass >= top_p
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return low.view(torch.float32)


def pick(weights: Tensor, uniform: Tensor) -> Tensor:
    """Return the token [n] at which each row's cumulative weight, in vocabulary order, passes `uniform` of its total.

    Args:
        weights: not negative, any total, float [n, V].
        uniform: in [0, 1), float64 [n].
    """
    mass = weights.cumsum(dim=1, dtype=torch.float64)
    return torch.searchsorted(mass, uniform[:, None] * mass[:, -1:], right=True)[:, 0].clamp_(max=weights.shape[1] - 1)
