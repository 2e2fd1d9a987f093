"""How many row slots and image memories fit: planned before anything runs, never found by catching out-of-memory."""

from dataclasses import dataclass

from captioners.core.errors import UserError

CPU_SLOTS = 64
"""Two tiles: the second finds the weights of the first in the processor's cache; more only wait longer."""
GPU_SLOTS = 512
_GB = 1e9


@dataclass(frozen=True)
class Plan:
    """What to reserve, in bytes and rows."""

    slots: int
    memories: int
    weights: int
    total: int
    """Weights, both caches and workspace, bytes."""


def plan(
    budget: int, *, weights: int, image_bytes: int, row_bytes: int, granularity: int, most_slots: int, workspace: int
) -> Plan:
    """Return the largest plan within `budget` bytes.

    Args:
        weights: bytes the weights take; image_bytes: of one image's cross-attention memory; row_bytes: of one row's
            caches and logits.
        granularity: slots come in multiples of this; most_slots: and not more than this.
        workspace: bytes that encoding and one step need besides.

    Every slot has an image memory of its own, so that one draw an image fills the engine too.

    Raises:
        UserError: not even one group of slots fits; says what is needed and what there is.
    """
    fixed = weights + workspace
    per_group = granularity * (row_bytes + image_bytes)
    groups = min((budget - fixed) // per_group, most_slots // granularity)
    if groups < 1:
        raise UserError(
            f"this captioner needs {(fixed + per_group) / _GB:.1f} GB "
            f"(weights {weights / _GB:.1f}, caches {per_group / _GB:.1f}) and may use {budget / _GB:.1f} GB; "
            "raise memory_gb, free memory, or take a smaller captioner"
        )
    slots = groups * granularity
    return Plan(slots, slots, weights, fixed + groups * per_group)
