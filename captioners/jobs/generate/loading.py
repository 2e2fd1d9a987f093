"""How a worker gets the captioner of a member: its device, its share of the memory."""

from typing import TYPE_CHECKING

from captioners.jobs.recipes.generate import GenerateRecipe, Member

if TYPE_CHECKING:
    from captioners.kinds.coca import CocaCaptioner

_GB = 10**9


def load(member: Member, recipe: GenerateRecipe, rank: int = 0) -> "CocaCaptioner":
    """Load the captioner of a member's pass; open it before use, within `budget_of`.

    Raises:
        UserError, NotFoundError: it is not there, or cannot be had so.
    """
    from captioners.kinds.coca import CocaCaptioner

    return CocaCaptioner(
        member.captioner,
        precision=member.precision,
        exact=member.exact,
        device=_device(recipe, rank),
        context_length=member.context_length,
    )


def budget_of(recipe: GenerateRecipe, captioner: "CocaCaptioner") -> int | None:
    """Return the bytes that one worker's captioner may plan with; None: what is free."""
    import torch

    from captioners.kinds._device import free_memory

    on_gpu = captioner.device.type == "cuda" and ":" not in recipe.device
    sharing = -(-recipe.workers // torch.cuda.device_count()) if on_gpu else recipe.workers
    if recipe.memory_gb is not None:
        return int(recipe.memory_gb * _GB / sharing)
    return None if sharing == 1 else free_memory(captioner.device) // sharing


def _device(recipe: GenerateRecipe, rank: int) -> str:
    import torch

    several = recipe.device in ("auto", "cuda") and torch.cuda.device_count() > 1
    return f"cuda:{rank % torch.cuda.device_count()}" if several else recipe.device
