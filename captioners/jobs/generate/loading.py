"""How a worker gets the captioner of a member: its kind, its device, its share of the memory."""

from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.kinds.captioner import Captioner
from captioners.kinds.choices import load_captioner

_GB = 10**9


def load(member: Member, recipe: GenerateRecipe, rank: int = 0) -> Captioner:
    """Load the captioner of a member's pass; open it before use, within `budget_of`.

    Raises:
        UserError, NotFoundError: it is not there, or cannot be had so.
    """
    return load_captioner(
        member.captioner,
        device=_device(recipe, rank),
        precision=member.precision,
        exact=member.exact,
        context_length=member.context_length,
    )


def budget_of(recipe: GenerateRecipe, captioner: Captioner) -> int | None:
    """Return the bytes that one worker's captioner may plan with; None: what is free, or no memory of ours."""
    if captioner.device_type == "elsewhere":
        return None
    import torch

    from captioners.kinds._device import device_named, free_memory

    on_gpu = captioner.device_type == "cuda" and ":" not in recipe.device
    sharing = recipe.executor.sharing(recipe.workers)
    if on_gpu:
        sharing = -(-sharing // torch.cuda.device_count())
    if recipe.memory_gb is not None:
        return int(recipe.memory_gb * _GB / sharing)
    return None if sharing == 1 else free_memory(device_named(captioner.device_type)) // sharing


def _device(recipe: GenerateRecipe, rank: int) -> str:
    if recipe.device not in ("auto", "cuda"):
        return recipe.device
    import torch

    return f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.device_count() > 1 else recipe.device
