"""Works for the tests of executors; they have to stand in a module that another process can import."""

import os
import signal
import threading
import time
from pathlib import Path

from captioners.core.errors import ImageError, NeedsLookError, WorkerOutError


def square(setting, tasks, finished, tell, rank=0):
    for task in tasks:
        tell((rank, os.getpid(), task**2))
        finished(task)


def ahead(setting, tasks, finished, tell, rank=0):
    """Pull everything before the first is finished, as a stream does; finish backwards."""
    for task in reversed(list(tasks)):
        finished(task)


def die_once(setting, tasks, finished, tell, rank=0):
    """Kill the process over the task that has the number in `setting`, the first time."""
    folder, number = setting
    for task in tasks:
        tell(task)
        mark = Path(folder, f"died-{task}")
        if task == number and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        finished(task)


def die_always(setting, tasks, finished, tell, rank=0):
    for task in tasks:
        if task == 3:
            os._exit(9)
        finished(task)


def fail(setting, tasks, finished, tell, rank=0):
    error = {"look": NeedsLookError("too much"), "disk": OSError(28, "No space left on device", "/x/y")}
    error |= {"bug": KeyError("no"), "image": ImageError("not a picture", "empty"), "odd": Odd(1, 2)}
    next(tasks)
    raise error[setting]


class Odd(Exception):
    """An error that does not survive pickling."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def wait(setting, tasks, finished, tell, rank=0):
    """Say who one is, then wait to be stopped; leave a note on the way out."""
    for _ in tasks:
        try:
            tell(os.getpid())
            while True:
                time.sleep(0.05)
        except KeyboardInterrupt:
            Path(setting, f"stopped-{os.getpid()}").touch()
            raise


def wait_until_cut(setting, tasks, finished, tell, rank=0):
    """Tell, over and over, as a worker does that has more to do."""
    for _ in tasks:
        while True:
            tell(os.getpid())
            time.sleep(0.05)


def environment(setting, tasks, finished, tell, rank=0):
    for task in tasks:
        tell(os.environ.get("OMP_NUM_THREADS"))
        finished(task)


def out(setting, tasks, finished, tell, rank=0):
    """Leave with the first task if one has the rank in `setting` (None: all have it)."""
    for task in tasks:
        if setting in (None, rank):
            raise WorkerOutError("this GPU computes otherwise")
        time.sleep(0.2)
        finished(task)


def die_early(setting, tasks, finished, tell, rank=0):
    os._exit(9)


def die_waiting(setting, tasks, finished, tell, rank=0):
    """Take time over each task; the second worker is killed soon after its first, while it waits for another."""
    mark = Path(setting, "killed")
    for task in tasks:
        time.sleep(0.5)
        if rank == 1 and not mark.exists():
            mark.touch()
            threading.Timer(0.2, os._exit, [9]).start()
        finished(task)
