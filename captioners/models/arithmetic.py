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


def exact_columns(columns: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return weight @ columns + bias for contiguous columns [in, n], contiguous [out, n]; best for few columns.

    A column's bits depend on n and the column alone. Another memory order would be another kernel with other sums.
    """
    blocks = row_blocks(weight)
    every = columns.expand(blocks.shape[0], -1, -1)
    if bias is None:
        return torch.bmm(blocks, every).flatten(0, 1)
    return torch.baddbmm(bias.view(*blocks.shape[:2], 1), blocks, every).flatten(0, 1)


def exact_rows(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x @ weight.T + bias for x [n, in], contiguous [n, out]; best for the many rows of an image.

    Its bits depend on x alone, so what is to be equal must come with equal n.
    """
    blocks = row_blocks(weight)
    every = x.contiguous().expand(blocks.shape[0], -1, -1)
    if bias is None:
        product = torch.bmm(every, blocks.transpose(1, 2))
    else:
        product = torch.baddbmm(bias.view(blocks.shape[0], 1, -1), every, blocks.transpose(1, 2))
    return product.transpose(0, 1).reshape(x.shape[0], -1)


def exact_gelu(x: Tensor) -> Tensor:
    """Return GELU (erf form) of a contiguous x with bits independent of the thread count.

    The library hands each thread an equal share and ends a share that is no multiple of the vector width with scalar
    code, which rounds otherwise. Shares that come out even are left to it; others go in chunks that one thread does.
    """
    if x.numel() <= _GELU_CHUNK or x.numel() % (torch.get_num_threads() * _VECTOR) == 0:
        return F.gelu(x)
    return torch.cat([F.gelu(part) for part in torch.split(x.view(-1), _GELU_CHUNK)]).view(x.shape)


class Arithmetic(Protocol):
    """The products of a step, whose rounding depends on shapes."""

    granularity: int
    """A step's number of rows is a multiple of this."""

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x @ weight.T + bias for the rows of a step, [n, in] -> [n, out]."""

    def mlp(self, x: Tensor, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor) -> Tensor:
        """Return down(GELU(up(x))) for the rows of a step, [n, D] -> [n, D]."""

    def image(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x @ weight.T + bias for all tokens of one image, [N, in] -> [N, out]."""


class Exact:
    """Tiles of 32 rows and single-threaded blocks: bit-equal for any batch, order and threads on one kind of CPU."""

    granularity = TILE

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x @ weight.T + bias, tile by tile; n a multiple of 32."""
        return _join([exact_columns(tile.T.contiguous(), weight, bias) for tile in torch.split(x, TILE)])

    def mlp(self, x: Tensor, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor) -> Tensor:
        """Return down(GELU(up(x))), tile by tile, so that what is inside is never transposed."""
        hidden = (exact_gelu(exact_columns(tile.T.contiguous(), up, up_bias)) for tile in torch.split(x, TILE))
        return _join([exact_columns(columns, down, down_bias) for columns in hidden])

    def image(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x @ weight.T + bias; an image's tokens are always as many."""
        return exact_rows(x, weight, bias)


def _join(tiles: list[Tensor]) -> Tensor:
    """Return tiles [out, 32] as rows [n, out]; a single one is not copied."""
    return tiles[0].T if len(tiles) == 1 else torch.cat([tile.T for tile in tiles])


class Plain:
    """The library's own choice of order, for any number of rows; `granularity` fixes the shape on a GPU."""

    def __init__(self, granularity: int = 1) -> None:
        self.granularity = granularity

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x @ weight.T + bias in the weight's dtype."""
        return F.linear(x.to(weight.dtype), weight, bias)

    def mlp(self, x: Tensor, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor) -> Tensor:
        """Return down(GELU(up(x))) in the weights' dtype."""
        return self.linear(F.gelu(self.linear(x, up, up_bias)), down, down_bias)

    image = linear
