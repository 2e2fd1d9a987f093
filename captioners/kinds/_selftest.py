"""The proof on opening: a few steps that show what the engine promises on this machine, with these weights."""

from typing import Any

import torch
from torch import Tensor

from captioners.core.errors import CaptionersError
from captioners.kinds.captioner import Grade
from captioners.models.coca_step import CoCaStep

_TOKENS = 3
_MOST = 1e-4
"""Incremental logits against the full forward pass, fp32 (design promise 4)."""


@torch.inference_mode()
def self_test(model: Any, step: CoCaStep, start_id: int, exact: bool, dtype: torch.dtype) -> Grade:
    """Return the grade that this engine has here.

    One row is decoded alone in the first slot, then again in another slot with a neighbour from another image; exact
    means equal bits. In fp32 its logits must also be the full forward pass's.

    Raises:
        CaptionersError: the incremental decoder is not the model.
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, step.vocab_size, (_TOKENS,), generator=generator)
    ids[0] = start_id
    images = torch.randn(2, _num_image_tokens(model), step.width, generator=generator).to(step.device)
    alone = _decode(step, ids, images, slot=0, company=False)
    if dtype is torch.float32:
        full = _full_forward(model, ids.to(step.device), images[:1])
        difference = float((alone - full).abs().max() / full.abs().max().clamp(min=1.0))
        if not difference < _MOST:
            raise CaptionersError(
                f"the incremental decoder differs from the model by {difference:.1e}, over {_MOST}; please report it"
            )
    if not exact:
        return "best-effort"
    other_slot = step.slots - 1
    same = torch.equal(alone, _decode(step, ids, images, slot=other_slot, company=True))
    if not same:
        return "best-effort"
    return "exact" if step.device.type == "cpu" else "same-plan"


def _num_image_tokens(model: Any) -> int:
    pooler = getattr(model.visual, "attn_pool", None)
    if pooler is not None:
        return int(pooler.query.shape[0]) - 1  # query 0 is the contrastive token, which the decoder does not see
    grid = model.visual.grid_size
    return int(grid[0] * grid[1])


def _decode(step: CoCaStep, ids: Tensor, images: Tensor, *, slot: int, company: bool) -> Tensor:
    """Return the logits [T, V] of one row fed `ids` in `slot`, alone or with a row of another image."""
    memory = 1 if company else 0
    step.remember(memory, images[0])
    step.admit([slot], memory)
    neighbour = 0 if slot else 1
    if company:
        step.remember(0, images[1])
        step.admit([neighbour], 0)
    n = -(-(slot + 1) // step.granularity) * step.granularity
    logits = []
    for age, token in enumerate(ids.tolist()):
        tokens = torch.full((n,), 1 + age, dtype=torch.long, device=step.device)
        tokens[slot] = token
        logits.append(
            step.step(tokens, age, step.memories if step.granularity == step.slots else memory + 1, 1)[slot].clone()
        )
    step.evict([slot, neighbour] if company else [slot])
    return torch.stack(logits)


def _full_forward(model: Any, ids: Tensor, image: Tensor) -> Tensor:
    """Return the model's own logits [T, V] by its full forward pass; one more token, so that CLS stays out of it."""
    text = torch.cat([ids, ids[-1:]])[None]
    states: Tensor = model.text(text)[1]
    logits: Tensor = model.text_decoder(image, states)
    return logits[0, : len(ids)].float()
