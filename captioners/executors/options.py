"""What a recipe says under `executor:`: where its workers run, told apart by kind; a word alone is a kind as it is."""

import os
from math import ceil
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from captioners.core.errors import near
from captioners.core.options import Options
from captioners.executors.local import Local
from captioners.executors.tasks import Executor

KINDS = ("local", "ray", "slurm")


class LocalOptions(Options):
    """Processes on this machine, as many as `workers:` says; with several GPUs each has one of them."""

    kind: Literal["local"] = "local"

    def open(self, workers: int) -> Executor:
        """Return the executor."""
        return Local(workers)

    def sharing(self, workers: int) -> int:
        """Return how many workers share this machine and its GPUs."""
        return workers

    @property
    def device(self) -> str | None:
        """The type of device that workers have wherever they run; None: what this machine has."""
        return None


class RayOptions(Options):
    """Actors on a Ray cluster, or on one that is started on this machine; they come and go as its nodes do."""

    kind: Literal["ray"] = "ray"
    address: str = "auto"
    """Of the cluster: auto (the one this machine belongs to, or RAY_ADDRESS), local (start one), or HOST:PORT."""
    least: int = Field(1, ge=1)
    """Actors without which it does not begin."""
    most: int | None = Field(None, ge=1)
    """Actors at most, as the cluster has room for them; absent: as many as `workers:` says, but at least `least`."""
    cpus: float = Field(1, ge=0)
    """CPUs of each actor."""
    gpus: float = Field(0, ge=0)
    """GPUs of each actor."""
    wait_s: float = Field(600, gt=0)
    """How long it waits for the first `least` actors."""

    @model_validator(mode="after")
    def _in_order(self) -> "RayOptions":
        if self.most is not None and self.most < self.least:
            raise ValueError(f"most {self.most} is less than least {self.least}")
        return self

    def open(self, workers: int) -> Executor:
        """Return the executor; raise UserError if the package is missing."""
        from captioners.executors.ray import Ray

        most = self.most if self.most is not None else max(workers, self.least)
        return Ray(self.address, self.least, most, self.cpus, self.gpus, self.wait_s)

    def sharing(self, workers: int) -> int:
        """Return how many actors share a GPU or, where they have none, a machine as large as this one."""
        if self.gpus:
            return ceil(1 / self.gpus)
        most = self.most if self.most is not None else max(workers, self.least)
        return max(1, min(most, int((os.cpu_count() or 1) / self.cpus))) if self.cpus else most

    @property
    def device(self) -> str | None:
        """The type of device that actors have: Ray shows no GPU to one that asked for none."""
        return "cuda" if self.gpus else "cpu"


class SlurmOptions(Options):
    """Tasks that `srun` started, each with the same command, of which this is one; they share the run's leases."""

    kind: Literal["slurm"] = "slurm"

    def open(self, workers: int) -> Executor:  # noqa: ARG002  # Slurm says how many there are
        """Return the executor; raise UserError outside of a Slurm job."""
        from captioners.executors.slurm import Slurm

        return Slurm.of_environment()

    def sharing(self, workers: int) -> int:  # noqa: ARG002  # as above
        """Return how many workers share what Slurm gave this task: it alone has it."""
        return 1

    @property
    def device(self) -> str | None:
        """The type of device that workers have wherever they run; None: what this machine has."""
        return None


def _expanded(value: Any) -> Any:
    if isinstance(value, str):
        if value not in KINDS:
            raise ValueError(f"no executor is named '{value}'.{near(value, KINDS)} Known: {', '.join(KINDS)}")
        return {"kind": value}
    return value


AnyExecutor = Annotated[
    LocalOptions | RayOptions | SlurmOptions, Field(discriminator="kind"), BeforeValidator(_expanded)
]
"""A recipe field of this type takes a kind's name, or a mapping with its options."""
