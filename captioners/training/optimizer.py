"""AdamW as CLIP and CoCa are trained with it, and the learning rate as a function of the step."""

import math
from collections.abc import Iterable

import torch
from torch import nn

BETAS = (0.9, 0.95)
"""MobileCLIP2's (arXiv 2508.20691, Table 16)."""
MAX_NORM = 1.0
"""What the gradient's norm is clipped to (same table)."""
_NOT_DECAYED = ("positional_embedding", "class_embedding", "cls_emb", "logit_scale", "logit_bias")


def learning_rate(step: int, *, peak: float, warmup: int, total: int) -> float:
    """Return the learning rate of step 0..total - 1: linear warm-up, then a cosine that would reach 0 at `total`.

    >>> [round(learning_rate(step, peak=1.0, warmup=2, total=6), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay pulls a parameter: matrices, yes; gains, biases, positions, classes and scales, no."""
    return parameter.ndim >= 2 and name.rpartition(".")[2] not in _NOT_DECAYED


def trained_parameters(model: nn.Module, untrained: Iterable[str]) -> dict[str, nn.Parameter]:
    """Freeze the parameters named in `untrained`, unfreeze all others and return those, by name."""
    frozen = set(untrained)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return {name: parameter for name, parameter in model.named_parameters() if name not in frozen}


def make_optimizer(parameters: dict[str, nn.Parameter], *, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over named parameters in two groups, decayed and not; `set_learning_rate` comes before each step.

    Fused where the device has it (CPU, CUDA): one pass over memory instead of a dozen.
    """
    decayed = [p for name, p in parameters.items() if is_decayed(name, p)]
    others = [p for name, p in parameters.items() if not is_decayed(name, p)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters.values())
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=BETAS, eps=1e-6, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
