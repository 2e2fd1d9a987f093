"""The residual blocks of open_clip's CoCa as training runs them, plain, recomputed in the backward pass, or compiled.

A block's weights stay where open_clip keeps them; only the way through them is ours. Recomputing and compiling change
memory and speed, and no gradient beyond rounding.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from captioners.core.errors import UserError

PAD = 0


@dataclass(frozen=True)
class Blocks:
    """How residual blocks are run."""

    recomputed: bool = False
    """Keep a block's input alone and compute the rest again in the backward pass: less memory, a third more work."""
    compiled: bool = False
    """Run blocks through torch.compile: the first steps take minutes, the others less."""

    def __call__(
        self, block: Any, x: Tensor, *, memory: Tensor | None = None, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Return a residual block of x [B, T, D]: attention within x or over `memory` [B, N, D], then the MLP.

        Raises:
            UserError: a block that is not open_clip's plain one.
        """
        if not is_plain(block):
            raise UserError("this CoCa has blocks of a kind that is not trained here; open_clip's plain CoCas are")
        run = _compiled() if self.compiled else _block
        if not self.recomputed or not torch.is_grad_enabled():
            return run(block, x, memory, mask, causal)
        out: Tensor = checkpoint(
            run, block, x, memory, mask, causal, use_reentrant=False, preserve_rng_state=False
        )  # no random numbers
        return out


PLAIN = Blocks()


def is_plain(block: Any) -> bool:
    """Whether a block's attention is the one that is run here."""
    attention = getattr(block, "attn", None)
    return isinstance(attention, nn.MultiheadAttention) and attention.in_proj_weight is not None


def padding_mask(ids: Tensor, dtype: torch.dtype, *, cls: bool) -> Tensor:
    """Return open_clip's additive mask [B, 1, Q, K]: causal, and key j hidden where ids[j - 1] is a pad."""
    shown = F.pad(ids != PAD, (1, 0 if cls else -1), value=True)
    length = shown.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril_()
    seen = causal & shown[:, None, None, :]
    return torch.zeros(seen.shape, dtype=dtype, device=ids.device).masked_fill_(~seen, float("-inf"))


_Run = Callable[[Any, Tensor, Tensor | None, Tensor | None, bool], Tensor]


@cache
def _compiled() -> _Run:
    # It looks at the gradient of whatever it is handed, and torch warns it, who alone could do otherwise.
    warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
    # Dynamic: the length of captions changes with every batch. One function for all layers: weights are its inputs.
    run: _Run = torch.compile(_block, dynamic=True)
    return run


def _block(block: Any, x: Tensor, memory: Tensor | None, mask: Tensor | None, causal: bool) -> Tensor:
    if memory is not None:
        memory = block.ln_1_kv(memory)
    x = x + block.ls_1(_attend(block.attn, block.ln_1(x), memory, mask, causal))
    out: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return out


def _attend(attention: Any, x: Tensor, memory: Tensor | None, mask: Tensor | None, causal: bool) -> Tensor:
    # The module's own forward would copy queries, keys and values apart, and pad the mask out to every head.
    batch, length, width = x.shape
    heads = (attention.num_heads, width // attention.num_heads)
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    if memory is None:
        q, k, v = F.linear(x, weight, bias).view(batch, length, 3, *heads).unbind(2)
    else:
        q = F.linear(x, weight[:width], bias[:width]).view(batch, length, *heads)
        k, v = F.linear(memory, weight[width:], bias[width:]).view(batch, memory.shape[1], 2, *heads).unbind(2)
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    out: Tensor = attention.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))
    return out
