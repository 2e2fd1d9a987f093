"""Where and how precisely a training run computes, by accelerate, and the trackers it reports to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
import torch.distributed.nn  # before there is a group: its functions keep the one of then for good, and its threads
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from captioners.core.errors import UserError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]
Tracker = Literal["tensorboard", "wandb", "trackio"]


@contextmanager
def accelerator_for(
    device: Device = "auto", precision: Precision = "auto", trackers: Sequence[Tracker] = (), folder: str | Path = "."
) -> Iterator[Accelerator]:
    """Yield an accelerator; weights stay fp32, bf16 is autocast. Trackers write below `folder`.

    Started by `torchrun` or `accelerate launch`, this process is one of several (NCCL on GPUs, gloo on CPUs).

    Raises:
        UserError: no such device here, or the package of a tracker is not installed.
    """
    for tracker in trackers:
        if find_spec(tracker) is None:
            raise UserError(f"trackers: the package {tracker} is not installed; pip install 'captioners[{tracker}]'")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: torch sees no CUDA device here; take device auto or cpu ('captioners doctor')")
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if precision == "auto":
        precision = "fp32" if on_cpu or torch.cuda.get_device_capability() < (8, 0) else "bf16"
    accelerator = Accelerator(
        cpu=on_cpu,
        mixed_precision="bf16" if precision == "bf16" else "no",
        log_with=list(trackers) or None,
        project_dir=str(folder),
    )
    try:
        if trackers:
            accelerator.init_trackers("trackers")
        yield accelerator
    finally:
        accelerator.end_training()
        # accelerate keeps device and precision for the process; the next run may want others.
        AcceleratorState._reset_state(reset_partial_state=True)
