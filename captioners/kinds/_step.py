"""How the kind `coca` steps: which arithmetic on which device, and over how many rows and images."""

import torch

from captioners.engine.plan import Plan
from captioners.models.arithmetic import Arithmetic, Exact, Plain
from captioners.models.coca import LoadedCoCa
from captioners.models.coca_step import CoCaStep


def step_model(loaded: LoadedCoCa, planned: Plan, dtype: torch.dtype, exact: bool) -> CoCaStep:
    """Return the step model of a CoCa that is on its device already."""
    arithmetic: Arithmetic
    if next(loaded.model.parameters()).is_cuda:
        arithmetic = Plain(planned.slots)  # static shapes: one shape for every step
        if exact:
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
    else:
        arithmetic = Exact() if exact else Plain()
    return CoCaStep(
        loaded.model,
        slots=planned.slots,
        memories=planned.memories,
        max_tokens=loaded.context_length - 1,
        arithmetic=arithmetic,
        dtype=dtype,
    )
