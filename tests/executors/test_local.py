"""The local executor: every task once, whoever dies; errors come home; a stop is a stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from captioners.core.errors import InterruptedRunError, NeedsLookError, UserError
from captioners.executors.local import portable, run_tasks, threads_of
from tests.executors import works


def gone(pid):
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def eventually(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("work", [works.square, works.ahead])
def test_every_task_is_done_once(work, workers):
    tasks, told, done = list(range(10)), [], []
    run_tasks(work, None, tasks, workers=workers, tell=told.append, finished=done.append)
    assert sorted(done) == tasks
    if work is works.square:
        assert sorted(square for _, _, square in told) == [task**2 for task in tasks]
        pids = {pid for _, pid, _ in told}
        assert (os.getpid() in pids) == (workers == 1)
        assert all(gone(pid) for pid in pids - {os.getpid()})


def test_nothing_to_do_starts_nothing():
    run_tasks(works.fail, "bug", [], workers=3)


def test_the_tasks_of_a_worker_that_dies_are_given_out_again(tmp_path):
    told, done, notices = [], [], []
    run_tasks(
        works.die_once, (str(tmp_path), 2), list(range(6)), workers=2,
        tell=told.append, finished=done.append, notice=notices.append,
    )  # fmt: skip
    assert sorted(done) == list(range(6)), "finished exactly once each"
    assert told.count(2) == 2
    assert len(notices) == 1 and "SIGKILL" in notices[0] and "given out again" in notices[0]


def test_a_task_that_kills_every_worker_is_left_after_three_and_the_rest_is_stopped():
    notices = []
    with pytest.raises(InterruptedRunError, match=r"3 workers ended .* exit code 9.* run the same command again"):
        run_tasks(works.die_always, None, list(range(6)), workers=2, notice=notices.append)
    assert len(notices) == 2


@pytest.mark.parametrize(
    ("which", "kind", "says"),
    [
        ("look", NeedsLookError, "too much"),
        ("disk", OSError, "No space left"),
        ("bug", KeyError, "no"),
        ("image", UserError, "not a picture"),
        ("odd", RuntimeError, "Odd: 1 and 2"),
    ],
)
def test_what_a_worker_raises_is_raised_here(which, kind, says):
    with pytest.raises(kind, match=says) as caught:
        run_tasks(works.fail, which, [1, 2], workers=2)
    assert any("works.py" in note for note in caught.value.__notes__), "it says where it happened"
    if which == "disk":
        assert caught.value.errno == 28 and caught.value.filename == "/x/y"


def test_portable_keeps_what_survives_pickling():
    assert type(portable(NeedsLookError("x"))) is NeedsLookError
    assert type(portable(works.Odd(1, 2))) is RuntimeError


def test_what_the_listener_raises_stops_all_workers(tmp_path):
    pids = []

    def tell(pid):
        pids.append(pid)
        if len(pids) == 2:
            raise NeedsLookError("enough")

    with pytest.raises(NeedsLookError, match="enough"):
        run_tasks(works.wait, str(tmp_path), [1, 2, 3], workers=2, tell=tell)
    assert len(pids) == 2 and all(gone(pid) for pid in pids)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"stopped-{pid}" for pid in pids)


PARENT = """
from captioners.core.stopping import stoppable
from captioners.executors.local import run_tasks
from tests.executors import works
try:
    with stoppable():
        run_tasks({work}, {setting!r}, [1, 2], workers=2, tell=lambda pid: print(pid, flush=True))
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def start(work, setting):
    root = Path(__file__).parents[2]
    program = PARENT.format(work=f"works.{work}", setting=setting)
    return subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_parent_stops_all_workers(tmp_path, number):
    with start("wait", str(tmp_path)) as parent:
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        parent.send_signal(number)
        assert parent.stdout.readline() == "stopped\n"
        parent.wait(20)
    assert all(gone(pid) for pid in pids)
    assert len(list(tmp_path.iterdir())) == 2, "each worker was told, none was killed"


def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path):
    with start("wait_until_cut", str(tmp_path)) as parent:
        pids = {int(parent.stdout.readline()) for _ in range(2)}
        parent.kill()
        parent.wait(20)
    eventually(lambda: all(gone(pid) for pid in pids))


def test_threads_are_shared_out(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    assert [threads_of(workers) for workers in (1, 2, 4, 9)] == [6, 3, 1, 1]
    told = []
    run_tasks(works.environment, None, [1, 2, 3], workers=3, tell=told.append)
    assert told == ["2", "2", "2"]
