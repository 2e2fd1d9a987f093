"""What a run needs of time, memory and disk, measured before its first step on steps whose gradients are dropped."""

import os
import resource
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from captioners.core.errors import UserError
from captioners.core.progress import clock_time
from captioners.jobs.train.start import Recipe
from captioners.training.loop import Trainer

STEPS = 20
"""Steps that are measured."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a run needs, as measured."""

    step_s: float
    """Seconds a step."""
    evaluation_s: float
    """Seconds an evaluation."""
    steps: int
    evaluations: int
    memory: int
    """Bytes at most, of the GPU, or of this process where there is none."""
    memory_there: int
    disk: int
    """Bytes of checkpoints and captioner."""
    disk_free: int

    @property
    def seconds(self) -> float:
        """Of the whole run, the comparison at its end left out."""
        return self.step_s * self.steps + self.evaluation_s * self.evaluations

    def lines(self) -> list[str]:
        """Return the figures for people, one a line."""
        looks = f" and {self.evaluations} evaluations of {self.evaluation_s:.1f} s" if self.evaluations else ""
        return [
            f"memory      {_gb(self.memory)} at most so far, of {_gb(self.memory_there)}",
            f"disk        {_gb(self.disk)} for checkpoints and captioner, {_gb(self.disk_free)} free",
            f"time        about {clock_time(self.seconds)}: {self.steps:,} steps of {self.step_s:.2f} s{looks}",
        ]


def measure(
    recipe: Recipe, trainer: Trainer, directory: Path, *, steps: int, evaluations: int, evaluation_s: float
) -> Needs:
    """Run up to 20 of the run's first steps without learning from them, and say what the whole needs."""
    step_s = trainer.rehearse(min(STEPS, steps))
    on_gpu = trainer.accelerator.device.type == "cuda"
    whole = sum(p.numel() for p in trainer.model.parameters())
    trained = sum(p.numel() for p in trainer.parameters.values())
    one = 4 * whole + 8 * trained  # weights, and AdamW's two moments
    kept = recipe.keep_checkpoints + 1 + (recipe.evaluation is not None)  # one more while the last is written
    return Needs(
        step_s=step_s,
        evaluation_s=evaluation_s,
        steps=steps,
        evaluations=evaluations,
        memory=torch.cuda.max_memory_allocated() if on_gpu else _resident(),
        memory_there=torch.cuda.get_device_properties(0).total_memory if on_gpu else _memory(),
        disk=one * kept + 4 * whole,
        disk_free=shutil.disk_usage(directory).free,
    )


def refuse(needs: Needs, max_hours: float | None, say: Callable[[str], None]) -> None:
    """Say what the run needs; raise UserError if that is more time than is allowed, or more disk than is free."""
    for line in needs.lines():
        say(line)
    hours = needs.seconds / 3600
    if max_hours is not None and hours > max_hours:
        raise UserError(
            f"this run would take about {hours:.1f} hours ({needs.steps:,} steps of {needs.step_s:.2f} s), more than "
            f"max_hours {max_hours:g}: raise it, train for fewer epochs, or start from a smaller captioner"
        )
    if needs.disk > needs.disk_free:
        raise UserError(
            f"checkpoints and captioner need {_gb(needs.disk)} and {_gb(needs.disk_free)} are free; free some space, "
            "name another output, or lower keep_checkpoints"
        )


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _resident() -> int:
    """Return the most memory that this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _memory() -> int:

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
