"""The Ray executor on a cluster of this machine: every task once, whoever dies; errors come home; no room."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("ray") is None, reason="needs captioners[ray]"),
]

# In a process of its own, for Ray changes the one that it is started in; one cluster for all cases.
PROGRAM = """
import sys, tempfile
import ray
from captioners.core.errors import CaptionersError
from captioners.executors.ray import Ray, _Driver
from captioners.executors.tasks import Listed
from tests.executors import works
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
def run(work, setting, count=6, pool=Ray("auto", 1, 2, 0.5, 0, 600)):
    done, told, notices = [], [], []
    try:
        pool.run(work, setting, Listed(list(range(count)), done.append), told.append, notices.append)
    except CaptionersError as error:
        print(type(error).__name__, error)
    print(work.__name__, sorted(done), len(told), notices)
run(works.square, None)
run(works.ahead, None)
with tempfile.TemporaryDirectory() as folder:
    run(works.die_once, (folder, 2))
run(works.fail, "look")
run(works.out, 0)
run(works.square, None, pool=Ray("auto", 1, 1, 64, 0, 3))
begin = _Driver._begin
def beheaded(self):
    begin(self)
    node = ray.get(self._desk.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id()))
    print("desk beside the driver:", node == ray.get_runtime_context().get_node_id())
    ray.kill(self._desk)
_Driver._begin = beheaded
run(works.square, None)
"""


@pytest.fixture(scope="module")
def said():
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_every_task_is_done_once(said):
    assert said[0] == "square [0, 1, 2, 3, 4, 5] 6 []" and said[1] == "ahead [0, 1, 2, 3, 4, 5] 0 []"


def test_the_tasks_of_an_actor_that_dies_are_given_out_again(said):
    found = next(line for line in said if line.startswith("die_once"))
    assert found.startswith("die_once [0, 1, 2, 3, 4, 5] 7 ['worker ") and "ended with its actor" in found
    assert "its 1 tasks are given out again" in found


def test_what_an_actor_raises_is_raised_here(said):
    assert "NeedsLookError too much" in said


def test_an_actor_that_must_leave_leaves_its_tasks_to_the_others(said):
    found = next(line for line in said if line.startswith("out"))
    assert found == "out [0, 1, 2, 3, 4, 5] 0 ['goes on without worker 0: this GPU computes otherwise']"


def test_a_cluster_without_room_is_said(said):
    assert any("had no room for 1 actors of 64 CPUs" in line for line in said)


def test_a_lost_desk_is_an_interruption_and_it_lies_where_the_driver_does(said):
    """It used to lie on any node, and its loss was an internal error."""
    assert "desk beside the driver: True" in said
    assert any(line.startswith("InterruptedRunError executor ray: the actor between") for line in said)
