"""One decoding step of a CoCa with cached keys and values: open_clip's forward pass, for one new token a row.

Axes: S slots, n rows of this step (the first n slots), M image memories, H heads, E head width, N image tokens, T cache
length, D width, V vocabulary. The text tower never sees the image and its tokens never see the CLS token (it stands
last and the mask is causal), so a step is: 12 text blocks, then 12 pairs of decoder self-attention and cross-attention
over the image's memory.

Cross-attention keys and values are computed once per image and shared by its rows, which meet them in padded groups of
8. Self-attention reads the cache in blocks of 32 positions that are merged by their softmax mass, so a row's bits
depend on its own age only.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captioners.core.errors import UserError
from captioners.models.arithmetic import MAX_THREADS, Arithmetic

BLOCK = 32
"""Cache positions of one attention block."""
GROUP = 8
"""Rows of one image that meet its cross-attention memory together; the last group is padded."""
_MASKED = -1e30


@dataclass(frozen=True)
class _Block:
    """One residual block: attention, then the MLP, each after its layer norm."""

    ln_1: nn.LayerNorm
    attention: tuple[Tensor, Tensor, Tensor, Tensor]
    """in_proj weight and bias, out_proj weight and bias."""
    ln_2: nn.LayerNorm
    mlp: tuple[Tensor, Tensor, Tensor, Tensor]
    ln_kv: nn.LayerNorm | None


def _read_block(block: Any, dtype: torch.dtype, device: torch.device) -> _Block:
    if not isinstance(getattr(block, "mlp", None), nn.Sequential) or type(block.mlp.gelu) is not nn.GELU:
        raise UserError("this CoCa has blocks the decoding engine does not know; it reads residual blocks with GELU")
    if not isinstance(block.ls_1, nn.Identity) or not isinstance(block.ls_2, nn.Identity):
        raise UserError(
            "this CoCa has layer scale (ls_init_value), which no released CoCa has and the decoding engine can't read"
        )

    def cast(*tensors: Tensor) -> Any:
        return tuple(tensor.detach().to(device, dtype) for tensor in tensors)

    attention, mlp = block.attn, block.mlp
    return _Block(
        block.ln_1,
        cast(attention.in_proj_weight, attention.in_proj_bias, attention.out_proj.weight, attention.out_proj.bias),
        block.ln_2,
        cast(mlp.c_fc.weight, mlp.c_fc.bias, mlp.c_proj.weight, mlp.c_proj.bias),
        getattr(block, "ln_1_kv", None),
    )


class CoCaStep:
    """The step model of a CoCa: S row slots over M image memories.

    Args:
        model: open_clip's `CoCa`, already on its device.
        slots: S, rounded up to a multiple of `arithmetic.granularity`.
        memories: M images at once.
        max_tokens: T, most tokens fed to a row (start and prompt included); at most the context length.
        arithmetic: how products are taken.
        dtype: of products and caches: float32, or bfloat16 as autocast would have it (residual stream, norms and
            softmax stay float32).
    """

    def __init__(
        self,
        model: Any,
        *,
        slots: int,
        memories: int,
        max_tokens: int,
        arithmetic: Arithmetic,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        text, decoder = model.text, model.text_decoder
        if not hasattr(text, "token_embedding") or text.cls_emb is None:
            raise UserError(
                "this CoCa's text tower is not open_clip's own causal tower; the decoding engine can't run it by steps"
            )
        self.device: torch.device = text.positional_embedding.device
        self._arithmetic, self._dtype = arithmetic, dtype
        most = text.positional_embedding.shape[0] - 1  # the last row is CLS's
        if max_tokens > most:
            raise UserError(f"{max_tokens} tokens are more than this CoCa's context of {most}")
        slots = -(-slots // arithmetic.granularity) * arithmetic.granularity
        self.granularity, self.slots, self.memories = arithmetic.granularity, slots, memories
        self.vocab_size: int = decoder.text_projection.shape[1]
        self._heads = text.transformer.resblocks[0].attn.num_heads
        if any(b.attn.num_heads != self._heads for b in (*decoder.resblocks, *decoder.cross_attn)):
            raise UserError(
                "this CoCa has towers with different numbers of heads, which the decoding engine does not read"
            )
        self._embedding, self._positions = text.token_embedding.weight.detach(), text.positional_embedding.detach()
        self._text = [_read_block(b, dtype, self.device) for b in text.transformer.resblocks]
        self._self = [_read_block(b, dtype, self.device) for b in decoder.resblocks]
        self._cross = [_read_block(b, dtype, self.device) for b in decoder.cross_attn]
        self._ln_final = decoder.ln_final
        self._vocabulary = decoder.text_projection.detach().T.contiguous().to(dtype)  # [V, D], read row by row
        self.width = decoder.text_projection.shape[0]
        self._head_width = self.width // self._heads
        self._scale = self._head_width**-0.5
        blocks = -(-max_tokens // BLOCK)
        cache = (len(self._text) + len(self._self), 2, slots, self._heads, blocks * BLOCK, self._head_width)
        self._cache = torch.zeros(cache, dtype=dtype, device=self.device)  # [L, keys and values, S, H, T, E]
        self._cross_keys: Tensor | None = None  # [L, M, H, E, N]: N is known with the first image
        self._cross_values: Tensor | None = None  # [L, M, H, N, E]
        self._occupied: set[int] = set()
        self._age = torch.zeros(slots, dtype=torch.long, device=self.device)
        # A batch of attention products with fewer matrices than threads is split inside them (arithmetic.MAX_THREADS).
        self._least_memories = -(-MAX_THREADS // self._heads)
        self._memory = torch.full((slots,), -1, dtype=torch.long, device=self.device)
        self._row = torch.zeros(slots, dtype=torch.long, device=self.device)
        vectors = torch.arange(2 * slots * self._heads, device=self.device).view(2, slots, self._heads)
        self._first_vector = vectors.transpose(0, 1) * (blocks * BLOCK)  # [S, 2, H], in a layer's [2 * S * H * T, E]
        self._lanes = -(-self._positions.shape[0] // BLOCK)
        self._within = torch.arange(blocks * BLOCK, device=self.device)

    @torch.inference_mode()
    def remember(self, memory: int, tokens: Tensor) -> None:
        """Compute the cross-attention memory of one image from its tokens [N, D], into memory slot `memory`."""
        if self._cross_keys is None or self._cross_values is None:
            shape = (len(self._cross), max(self.memories, self._least_memories), self._heads)
            size = (self._head_width, tokens.shape[0])
            self._cross_keys = torch.zeros(*shape, *size, dtype=self._dtype, device=self.device)
            self._cross_values = torch.zeros(*shape, *size[::-1], dtype=self._dtype, device=self.device)
        width = self.width
        for layer, block in enumerate(self._cross):
            assert block.ln_kv is not None
            weight, bias = block.attention[0][width:], block.attention[1][width:]
            keys, values = torch.split(self._arithmetic.image(block.ln_kv(tokens), weight, bias), width, dim=1)
            self._cross_keys[layer, memory] = keys.reshape(-1, self._heads, self._head_width).permute(1, 2, 0)
            self._cross_values[layer, memory] = values.reshape(-1, self._heads, self._head_width).transpose(0, 1)

    def admit(self, slots: list[int], memory: int, start: int = 0) -> None:
        """Give slots to rows of the image in `memory`, the first of them being its `start`-th row; their age is 0."""
        index = torch.tensor(slots, device=self.device)
        self._age[index], self._memory[index] = 0, memory
        self._occupied.update(slots)
        self._row[index] = torch.arange(start, start + len(slots), device=self.device)

    def evict(self, slots: list[int]) -> None:
        """Take slots from their rows: what they compute from now on is nobody's."""
        index = torch.tensor(slots, device=self.device)
        self._age[index], self._memory[index] = 0, -1
        self._occupied.difference_update(slots)

    def reorder(self, targets: list[int], sources: list[int], age: int, *, move: bool = False) -> None:
        """Copy the self-attention caches (first `age` positions) of rows `sources` to rows `targets`, all at once.

        Beams of one image keep their place in its memory; `move` carries a row's age and place along, to pack slots.
        """
        to, of = torch.tensor(targets, device=self.device), torch.tensor(sources, device=self.device)
        self._cache[:, :, to, :, :age] = self._cache[:, :, of, :, :age]
        if move:
            for state in (self._age, self._memory, self._row):
                state[to] = state[of]
            self._occupied.update(targets)
            self.evict(sources)

    def state(self) -> Tensor:
        """Return what a step changes besides the caches it writes: every row's age."""
        return self._age.clone()

    def restore(self, state: Tensor) -> None:
        """Undo steps since `state` was taken; what they wrote lies past each row's age and is written again."""
        self._age.copy_(state)

    @torch.inference_mode()
    def step(self, tokens: Tensor, oldest: int, memories: int, rows_per_memory: int) -> Tensor:
        """Feed one token to each of the first n slots and return the logits of what follows, float32 [n, V].

        Args:
            tokens: ids [n] on the device, n a multiple of `granularity`; slots without a row may hold any id.
            oldest: the greatest age among the rows.
            memories: how many image memories are in use, the first ones.
            rows_per_memory: most rows of one image. These three only bound the work; bits do not depend on them.
        """
        n = tokens.shape[0]
        age = self._age[:n]
        x = self._embedding[tokens] + self._positions[age]
        age = age[: self._used(n)]
        blocks = min(oldest // BLOCK + 1, self._within.shape[0] // BLOCK)  # rows may be done and not yet looked at
        masks = torch.where(self._within[: blocks * BLOCK] <= age[:, None], 0.0, _MASKED).view(-1, 1, blocks, BLOCK)
        at = (self._first_vector[: len(age)] + age[:, None, None]).flatten()  # where each head's new key and value go
        for layer, block in enumerate(self._text):
            x = self._attend_self(x, block, layer, masks, at)
        groups, memories = -(-rows_per_memory // GROUP), max(memories, self._least_memories)
        memory, nowhere = self._memory[:n], memories * groups * GROUP
        place = torch.where(memory >= 0, memory * (groups * GROUP) + self._row[:n], nowhere)
        for layer, (own, cross) in enumerate(zip(self._self, self._cross, strict=True), start=len(self._text)):
            x = self._attend_self(x, own, layer, masks, at)
            x = self._attend_cross(x, cross, layer - len(self._text), place, (memories, groups))
        self._age[:n] = (self._age[:n] + 1).clamp_(max=min(self._within.shape[0], self._positions.shape[0]) - 1)
        return self._arithmetic.linear(self._ln_final(x), self._vocabulary, None).float().contiguous()

    def _mlp(self, x: Tensor, block: _Block) -> Tensor:
        return x + self._arithmetic.mlp(block.ln_2(x), *block.mlp)

    def _used(self, n: int) -> int:
        """Return how many of the first n rows attend: up to the last occupied one, on a GPU all (a static shape)."""
        if self.granularity == self.slots or not self._occupied:
            return n
        return int(min(n, max(max(self._occupied) + 1, self._least_memories)))

    def _attend_self(self, x: Tensor, block: _Block, layer: int, masks: Tensor, at: Tensor) -> Tensor:
        n, used = x.shape[0], masks.shape[0]
        weight, bias, out, out_bias = block.attention
        qkv = self._arithmetic.linear(block.ln_1(x), weight, bias)[:used].view(used, 3, self._heads, -1)
        cache = self._cache[layer]
        cache.view(-1, self._head_width).index_copy_(0, at, qkv[:, 1:].reshape(-1, self._head_width))
        mixed = self._attention(qkv[:, 0, :, None] * self._scale, cache[0, :used], cache[1, :used], masks, self._lanes)
        x = x + self._arithmetic.linear(nn.functional.pad(mixed.flatten(1), (0, 0, 0, n - used)), out, out_bias)
        return self._mlp(x, block)

    @staticmethod
    def _attention(q: Tensor, keys: Tensor, values: Tensor, masks: Tensor, lanes: int) -> Tensor:
        """Mix values [n, H, T, E] for queries [n, H, 1, E] under additive masks [n, 1, blocks, 32]; returns [n, H, E].

        Each block is a softmax of its own at one shape; blocks are then weighed by their share of the whole softmax
        mass. A block that is all masked weighs exactly 0, so how many blocks the oldest row needs does not touch the
        others' bits.
        """
        mixed, masses = [], []
        for index, mask in enumerate(masks.unbind(2)):
            part = slice(index * BLOCK, (index + 1) * BLOCK)
            scores = (q @ keys[:, :, part].transpose(2, 3)).float() + mask[:, :, None]
            weights = scores.softmax(-1).to(values.dtype)
            mixed.append((weights @ values[:, :, part])[:, :, 0])
            if masks.shape[2] > 1:
                # Log of the block's softmax mass: its first score (not masked in a block in use) less its log-prob.
                masses.append((scores[..., 0] - scores.log_softmax(-1)[..., 0])[:, :, 0])
        if len(mixed) == 1:
            return mixed[0]
        # Always as many lanes as the longest context needs: one shape for every age.
        empty = torch.full_like(masses[0], _MASKED)
        shares = torch.stack(masses + [empty] * (lanes - len(masses)), dim=-1).softmax(-1)
        total = mixed[0] * shares[..., :1]
        for index in range(1, len(mixed)):
            total = total + mixed[index] * shares[..., index : index + 1]
        return total

    def _attend_cross(self, x: Tensor, block: _Block, layer: int, place: Tensor, shape: tuple[int, int]) -> Tensor:
        """Let rows meet their image: row i is query `place[i]` of the grid [memories, groups, 8], or none past it."""
        assert self._cross_keys is not None and self._cross_values is not None
        (memories, groups), (weight, bias, out, out_bias) = shape, block.attention
        q = self._arithmetic.linear(block.ln_1(x), weight[: self.width], bias[: self.width]) * self._scale
        grid = q.new_zeros(memories * groups * GROUP + 1, self.width)
        grid[place] = q
        queries = grid[:-1].view(memories, groups, GROUP, self._heads, -1).transpose(2, 3)
        keys, values = self._cross_keys[layer, :memories], self._cross_values[layer, :memories]
        for group in range(groups):
            queries[:, group] = (queries[:, group] @ keys).softmax(-1) @ values
        x = x + self._arithmetic.linear(grid[place], out, out_bias)
        return self._mlp(x, block)
