"""How a decoding step multiplies: exactly (a row's bits never depend on its company or the threads) or plainly.

CPU matrix libraries choose their summation order from the whole shape and the thread count, so the same row gives other
last bits in another batch. The exact rule: rows go through in tiles of 32 (the last one padded), and each product
`W @ x.T` is handed over as a batch of row blocks of W, so that a block is the work of one thread at one shape, whatever
else is in flight.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 32
"""Rows of one exact product. Measured: `W @ x.T` at 32 rows beats `F.linear` there by 1.2-1.5."""

MAX_THREADS = 8
"""Exact work uses no more threads in one process (more cores: more workers). With at least as many blocks as threads
the library gives a block to one thread; with fewer it splits blocks, and their sums with them."""

_BLOCKS = (256, 192, 128, 96, 64, 48, 32, 16, 8, 4, 2, 1)
_GELU_CHUNK = 16384
_VECTOR = 32


def row_blocks(weight: Tensor) -> Tensor:
    """View a weight [out, in] as equal row blocks [blocks, rows, in]: the largest that leave `MAX_THREADS` of them."""
    out = weight.shape[0]
    rows = next((rows for rows in _BLOCKS if out % rows == 0 and out >= MAX_THREADS * rows), 1)
    return weight.view(out // rows, rows, -1)


def exact_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x @ weight.T + bias, [n, in] -> contiguous [n, out], with bits that depend on n and the row alone.

    Both are row-major on the way in and out: another memory order is another kernel with another order of sums.
    """
    blocks = row_blocks(weight)
    columns = x.contiguous().T.expand(blocks.shape[0], -1, -1)
    if bias is None:
        product = torch.bmm(blocks, columns)
    else:
        product = torch.baddbmm(bias.view(*blocks.shape[:2], 1), blocks, columns)
    return product.flatten(0, 1).T.contiguous()


def exact_gelu(x: Tensor) -> Tensor:
    """Return GELU (erf form), contiguous, with bits independent of the thread count (and of x's memory order).

    The library hands each thread an equal share and ends a share that is no multiple of the vector width with scalar
    code, which rounds otherwise. Shares that come out even are left to it; others go in chunks that one thread does.
    """
    x = x.contiguous()
    if x.numel() <= _GELU_CHUNK or x.numel() % (torch.get_num_threads() * _VECTOR) == 0:
        return F.gelu(x)
    return torch.cat([F.gelu(part) for part in torch.split(x.view(-1), _GELU_CHUNK)]).view(x.shape)


class Arithmetic(Protocol):
    """The two operations of a step whose rounding depends on shapes."""

    granularity: int
    """A step's number of rows is a multiple of this."""

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x @ weight.T + bias, [n, in] -> [n, out]."""

    def gelu(self, x: Tensor) -> Tensor:
        """Return GELU in its erf form."""


class Exact:
    """Tiles of 32 rows and single-threaded blocks: bit-equal for any batch, order and threads on one kind of CPU."""

    granularity = TILE

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x @ weight.T + bias, tile by tile; [n, in] -> [n, out] with n a multiple of 32."""
        if x.shape[0] == TILE:
            return exact_product(x, weight, bias)
        return torch.cat([exact_product(tile, weight, bias) for tile in torch.split(x, TILE)])

    def gelu(self, x: Tensor) -> Tensor:
        """Return GELU of each element, whatever the threads."""
        return exact_gelu(x)


class Plain:
    """The library's own choice of order, for any number of rows; `granularity` fixes the shape on a GPU."""

    def __init__(self, granularity: int = 1) -> None:
        self.granularity = granularity

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x @ weight.T + bias in the weight's dtype, [n, in] -> [n, out]."""
        return F.linear(x.to(weight.dtype), weight, bias)

    def gelu(self, x: Tensor) -> Tensor:
        """Return GELU of each element."""
        return F.gelu(x)
