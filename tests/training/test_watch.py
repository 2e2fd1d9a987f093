import json

import pytest

from captioners.training.watch import LossWatch


def _see(losses, watch=None):
    watch = watch or LossWatch()
    return [watch.see(loss, 1.0) for loss in losses], watch


def test_a_loss_that_stays_high_explodes():
    said, watch = _see([10.0, *[2.0] * 30, 11.0, 12.0, 13.0])
    assert said[:-1] == [None] * 33
    assert said[-1] == "explodes: 13, against a median of 2 over the last 31 steps"
    assert watch.is_suspicious


def test_one_odd_batch_is_no_explosion():
    said, watch = _see([10.0, *[2.0] * 30, 11.0, 12.0, 2.0, 50.0, 50.0])
    assert not any(said)
    assert watch.is_suspicious


def test_a_run_that_memorises_may_waver():
    """Its loss is all but 0, and a thousandfold of that is still a good loss."""
    assert not any(_see([10.0, *[1e-3] * 50, *[1.0] * 50])[0])


def test_the_beginning_of_a_run_is_not_judged():
    assert not any(_see([1.0, *[20.0] * 20])[0])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_no_number_is_said_at_once(wrong):
    assert LossWatch().see(wrong, 1.0) == "is no number"
    assert LossWatch().see(1.0, wrong) == "has a gradient that is no number"


def test_a_continued_run_judges_as_the_undisturbed_one():
    losses = [10.0, *[2.0] * 130, 11.0, 12.0, 13.0]
    _, first = _see(losses[:132])
    rest, _ = _see(losses[132:], LossWatch(json.loads(json.dumps(first.state()))))
    assert rest == _see(losses)[0][132:]
    assert rest[-1] is not None
