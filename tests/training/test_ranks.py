"""Two processes train as one does, stop together, and go on to the same bits; none waits for one that died."""

import json
import math
import signal

import pytest
import torch

from tests.training.launch import two_processes
from tests.training.runs import train

STEPS = 20
RUN = "tests.training.runs"


def _losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    return [line["total"] for line in lines]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """20 steps of two processes."""
    folder = tmp_path_factory.mktemp("whole")
    assert [code for code, *_ in two_processes(RUN, str(folder), str(STEPS))] == [0, 0]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_stopped_runs_go_on_to_the_same_bits(name, whole, tmp_path):
    ended = two_processes(RUN, str(tmp_path), str(STEPS), "10", name)
    codes = [code for code, *_ in ended]
    if name == "SIGKILL":
        assert codes[1] == -signal.SIGKILL
        assert codes[0] not in (0, -signal.SIGKILL), ended  # it noticed, and did not wait
    else:
        assert codes == [75, 75], ended  # one was asked, both stopped
        assert "SIGTERM: stopped after step 11 of 20" in ended[0][1]
    assert not (tmp_path / "final.pt").exists()
    ended = two_processes(RUN, str(tmp_path), str(STEPS))
    assert [code for code, *_ in ended] == [0, 0], ended
    found, wanted = (torch.load(folder / "final.pt", weights_only=True) for folder in (tmp_path, whole))
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    assert _losses(tmp_path) == _losses(whole)


@pytest.mark.slow
def test_the_loss_of_20_steps_is_that_of_one_process_and_of_micro_batches(whole, tmp_path):
    torch.set_num_threads(1)
    settings = {"lr": 1e-5, "checkpoint_every": 100}
    train(tmp_path / "one", STEPS, **settings)
    train(tmp_path / "parts", STEPS, micro_batch=1, **settings)
    wanted = _losses(tmp_path / "one")
    for other in (tmp_path / "parts", whole):
        assert all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(_losses(other), wanted, strict=True))
    train(tmp_path / "seed", STEPS, seed=1, **settings)  # the control
    assert not math.isclose(_losses(tmp_path / "seed")[-1], wanted[-1], rel_tol=1e-5)


def test_what_fails_on_one_ends_all_with_its_exit_code_and_one_says_why():
    (first, said, _), (second, other, _) = two_processes("tests.training.failing")
    assert (first, second) == (0, 9)
    said, lost = said.splitlines()
    silent, spoken = ["OtherProcessError", 1], ["UserError", 1]
    well = {"main is well": ["done", 0], "none": ["done", 0]}
    assert json.loads(said) == {
        **well, "main": spoken, "one": silent, "both": spoken, "reading": silent, "in common": ["NeedsLookError", 2],
    }  # fmt: skip
    assert json.loads(other) == {
        **well, "main": silent, "one": spoken, "both": silent, "reading": spoken, "in common": ["OtherProcessError", 2],
    }  # fmt: skip
    assert json.loads(lost) == ["InterruptedRunError", 75], "a process that is gone is noticed"
