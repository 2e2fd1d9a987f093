"""How a worker gets its teachers, and what their embeddings depend on."""

import platform
from importlib.metadata import version
from typing import Any

from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.kinds._device import device_named
from captioners.models.weights import weights_digest
from captioners.reinforcement.teachers import Ensemble, Teacher, open_teacher

_CUDA_BATCH, _CPU_BATCH = 256, 16


def load(recipe: ReinforceRecipe, batch: int, rank: int = 0) -> Ensemble:
    """Load the recipe's teachers, to compute on CUDA in the type that is stored.

    Raises UserError or NotFoundError if one cannot be had.
    """
    import torch

    device = device_named(recipe.device)
    if device.type == "cuda" and device.index is None and torch.cuda.device_count() > 1:
        device = torch.device("cuda", rank % torch.cuda.device_count())
    bfloat16 = recipe.dtype == "bfloat16"
    if device.type == "cuda" and not bfloat16:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return Ensemble([open_teacher(options, device, bfloat16) for options in recipe.teachers], batch)


def batch_of(recipe: ReinforceRecipe) -> int:
    """Return what a teacher gets at once where the run does not say it yet."""
    return recipe.batch or (_CUDA_BATCH if device_named(recipe.device).type == "cuda" else _CPU_BATCH)


def meaning_of(teacher: Teacher) -> dict[str, Any]:
    """Return what changes a teacher's embeddings: weights, modules, input, tokens; not its name, and not its scale."""
    return {
        "weights": weights_digest(teacher.model.state_dict()),
        "architecture": teacher.architecture_digest,
        "preprocess": teacher.preprocess.digest,
        "tokens": teacher.tokens_digest,
        "dim": teacher.dim,
    }


def environment_of(ensemble: Ensemble) -> dict[str, str]:
    """Return what the last bits of an embedding depend on besides its meaning."""
    import torch

    device = ensemble.teachers[0].device
    return {
        "captioners": version("captioners"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "dtype": "bfloat16" if ensemble.teachers[0].autocast else "float32",
        "batch": str(ensemble.batch),
    }
