"""Sampling with one uniform number a row and step: temperature, top-k, nucleus, min-p, then the CDF inverted.

In vocabulary order, not in sorted order: rounding cannot then change which token a number means when two probabilities
nearly tie. Sources: top-k, Fan et al. 2018 (arXiv 1805.04833); nucleus, Holtzman et al. 2019 (arXiv 1904.09751);
min-p, arXiv 2407.01082.
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioners.decoding.values import Sample

_HEAD = 64
"""Most nuclei of a trained captioner are narrower than this, so their edge is found without sorting the vocabulary."""
_RUN = 64
_BISECTIONS = 31


def filtered(scores: Tensor, options: Sample) -> Tensor:
    """Return the weights [n, V] that `options` leaves of the scores [n, V]: 0 outside the filters, any total inside.

    The order is temperature, top_k, top_p, min_p, each over what the one before left (as `transformers` does, and
    unlike open_clip, which divides by the temperature last, so that it cannot widen the nucleus). Tokens tied at an
    edge are all kept.
    """
    weights = _shaped(scores, options)
    nothing = weights.new_zeros(())
    nucleus = options.top_p is not None and options.top_p < 1.0
    edge = nucleus_edge(weights, options.top_p) if nucleus and options.top_p is not None else nothing
    return _above(weights, edge, options)


def _shaped(scores: Tensor, options: Sample) -> Tensor:
    """Apply temperature and top_k and return the softmax."""
    if options.temperature != 1.0:
        scores = scores / options.temperature
    if options.top_k is not None and options.top_k < scores.shape[1]:
        edge = scores.topk(options.top_k, dim=1).values[:, -1:]
        scores = scores.masked_fill(scores < edge, float("-inf"))
    return scores.softmax(dim=1)


def _above(weights: Tensor, edge: Tensor, options: Sample) -> Tensor:
    """Return the weights at or above the nucleus's edge and min_p's, 0 for the others."""
    if options.min_p is not None:
        edge = edge.maximum(options.min_p * weights.amax(dim=1, keepdim=True))
    return weights * (weights >= edge)


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


def draw(scores: Tensor, options: Sample, uniform: Tensor, wanted: Tensor) -> Tensor:
    """Return `pick(filtered(scores, options), uniform)`, the token [n] of each row, sparing what a CPU need not touch.

    Rows that `wanted` [n] does not mark may get any token. Where the nucleus is narrow only its tokens are summed, in
    vocabulary order: adding the zeros of all others would change no bit. Where it is wide, that row alone is sorted.
    """
    if options.top_p is None or options.top_p >= 1.0 or scores.device.type != "cpu":
        return pick(filtered(scores, options), uniform)
    weights = _shaped(scores, options)
    head = weights.topk(min(_HEAD, weights.shape[1]), dim=1)
    edge, reached = _edge_of_sorted(head.values, options.top_p)
    inside, places = head.indices.sort(dim=1)
    kept = _above(head.values.gather(1, places), edge, options)
    tokens = inside.gather(1, pick(kept, uniform)[:, None])[:, 0]
    # A tie at the edge may have twins beyond the head.
    wide = ~reached | (edge[:, 0] <= head.values[:, -1])
    for row in (wide & wanted).nonzero()[:, 0].tolist():
        tokens[row] = _draw_wide(weights[row].numpy(), options, float(uniform[row]))
    return tokens


def _draw_wide(weights: NDArray[np.float32], options: Sample, uniform: float) -> int:
    """Draw from one row whose nucleus is wide: its edge by a sort of the values, which numpy vectorises."""
    assert options.top_p is not None
    ordered = np.sort(weights)[::-1]
    edge = ordered[_where_mass_reaches(ordered, options.top_p, "left")]
    if options.min_p is not None:
        edge = max(edge, np.float32(options.min_p) * ordered[0])
    kept = weights * (weights >= edge)
    return _where_mass_reaches(kept, uniform * float(kept.sum(dtype=np.float64)), "right")


def _where_mass_reaches(weights: NDArray[np.float32], mass: float, side: Literal["left", "right"]) -> int:
    """Return the first place at which the cumulative weight reaches (left) or exceeds (right) `mass`."""
    starts = np.arange(0, len(weights), _RUN)
    blocks = np.add.reduceat(weights, starts, dtype=np.float64).cumsum()
    block = min(int(np.searchsorted(blocks, mass, side)), len(blocks) - 1)
    start, stop = int(starts[block]), int(starts[block]) + _RUN
    inner = weights[start:stop].cumsum(dtype=np.float64) + (blocks[block - 1] if block else 0.0)
    last = int(np.flatnonzero(weights[:stop])[-1])  # rounding may leave the mass just past the block that holds it
    return min(start + int(np.searchsorted(inner, mass, side)), last)


def pick(weights: Tensor, uniform: Tensor) -> Tensor:
    """Return the token [n] at which each row's cumulative weight, in vocabulary order, passes `uniform` of its total.

    Args:
        weights: not negative, any total, float [n, V].
        uniform: in [0, 1), float64 [n].
    """
    mass = weights.cumsum(dim=1, dtype=torch.float64)
    return torch.searchsorted(mass, uniform[:, None] * mass[:, -1:], right=True)[:, 0].clamp_(max=weights.shape[1] - 1)
