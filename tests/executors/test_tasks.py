"""What executors share: a source that has nothing free for a while, a worker that must leave, one that dies early."""

import pytest

from captioners.core.errors import InterruptedRunError, NeedsLookError
from captioners.executors import local, tasks
from captioners.executors.local import Local
from captioners.executors.slurm import Slurm
from captioners.executors.tasks import Listed
from tests.executors import works


class Patchy(Listed):
    """A list whose every second question is answered with nothing, as if another process had the rest."""

    def __init__(self, *given):
        super().__init__(*given)
        self.asked = 0

    def take(self, holding):
        self.asked += 1
        return super().take(holding) if self.asked % 2 else None


@pytest.mark.parametrize("executor", [Local(1), Local(2), Slurm(0, "7.0")])
@pytest.mark.parametrize("work", [works.square, works.ahead])
def test_what_is_not_free_yet_is_done_later(executor, work, monkeypatch):
    for module in (tasks, local):
        monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    done = []
    executor.run(work, None, Patchy(list(range(7)), done.append), lambda _: None, lambda _: None)
    assert sorted(done) == list(range(7))


def test_a_worker_that_must_leave_leaves_its_tasks_to_the_others():
    done, notices = [], []
    Local(2).run(works.out, 0, Listed(list(range(5)), done.append), lambda _: None, notices.append)
    assert sorted(done) == list(range(5))
    assert notices == ["goes on without worker 0: this GPU computes otherwise"]


def test_when_all_have_to_leave_it_says_why():
    with pytest.raises(NeedsLookError, match=r"no worker is left: this GPU computes otherwise. What is stored stays"):
        Local(2).run(works.out, None, Listed(list(range(5))), lambda _: None, lambda _: None)


def test_workers_that_die_before_they_have_a_task_are_not_started_for_ever():
    with pytest.raises(InterruptedRunError, match="with exit code 9"):
        Local(2).run(works.die_early, None, Listed(list(range(5))), lambda _: None, lambda _: None)


def test_a_worker_that_dies_while_it_waits_for_a_task_takes_none_with_it(tmp_path):
    done, notices = [], []
    Local(2).run(works.die_waiting, str(tmp_path), Listed(list(range(3)), done.append), lambda _: None, notices.append)
    assert sorted(done) == [0, 1, 2]
