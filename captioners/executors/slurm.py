"""Be one of the tasks of a Slurm job: each runs the same command, and the run's leases share out the work.

Slurm starts, places and ends the tasks; nobody is their parent. So a job array, several jobs and a laptop beside them
may work on one run. `recipes/cluster/slurm.sbatch` is a job file.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from captioners.core.errors import UserError
from captioners.executors.tasks import Source, Work, here


@dataclass(frozen=True)
class Slurm:
    """The task that this process is."""

    rank: int
    """Among the tasks of this node, which is how GPUs are shared out."""
    name: str
    """Job and task, for people."""
    workers: int = 0
    """Tasks of the job, with those of its whole array; 0: Slurm does not say."""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> "Slurm":
        """Return the task that Slurm's variables speak of.

        Raises:
            UserError: they are not set; says how to start the tasks.
        """
        try:
            job, number, rank = (environment[f"SLURM_{name}"] for name in ("JOB_ID", "PROCID", "LOCALID"))
            tasks = (int(environment.get(f"SLURM_{name}", at)) for name, at in (("NTASKS", 0), ("ARRAY_TASK_COUNT", 1)))
            return cls(int(rank), f"{job}.{number}", prod(tasks))
        except (KeyError, ValueError):
            raise UserError(
                "executor slurm: this is no task of a Slurm job (SLURM_JOB_ID, SLURM_PROCID, SLURM_LOCALID); start it "
                "by srun, as recipes/cluster/slurm.sbatch does, or take executor=local"
            ) from None

    @property
    def here(self) -> bool:
        """Whether this process is the only worker: of its own tasks it is."""
        return True

    def run(
        self, work: Work, setting: Any, source: Source, tell: Callable[[Any], None], notice: Callable[[str], None]
    ) -> None:
        """Do all tasks of a source that no other process has; see `Executor`."""
        notice(f"task {self.name} of Slurm, number {self.rank} on this node")
        here(work, setting, source, tell, self.rank)
