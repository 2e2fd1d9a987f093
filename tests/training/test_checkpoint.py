import json

import pytest
import torch

from captioners.core.errors import UserError
from captioners.training.checkpoint import Checkpoints
from captioners.training.optimizer import make_optimizer, set_learning_rate


def _made(seed=0, steps=3):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    optimizer = make_optimizer(parameters, weight_decay=0.1)
    for _ in range(steps):
        for parameter in parameters.values():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        set_learning_rate(optimizer, 1e-2)
        optimizer.step()
    return model, parameters, optimizer


@pytest.fixture
def made(_global_random_state_untouched):
    # nn.Linear draws its first weights from the global generator
    with torch.random.fork_rng(devices=[]):
        yield _made()


@pytest.fixture
def another(_global_random_state_untouched):
    with torch.random.fork_rng(devices=[]):
        yield _made(seed=1, steps=0)


def test_what_is_restored_is_what_was_saved_bit_for_bit(tmp_path, made, another):
    saved = Checkpoints(tmp_path)
    saved.save(3, *made, {"facts": {"lr": 0.1}})
    found = Checkpoints(tmp_path).latest()
    assert (found.step, found.state["facts"]) == (3, {"lr": 0.1})
    saved.restore(found, *another)
    for name, tensor in made[0].state_dict().items():
        assert torch.equal(another[0].state_dict()[name], tensor)
    for ours, theirs in zip(made[1].values(), another[1].values(), strict=True):
        old, new = made[2].state[ours], another[2].state[theirs]
        assert old.keys() == new.keys()
        assert all(torch.equal(old[key], new[key]) and old[key].dtype == new[key].dtype for key in old)
        ours.grad = theirs.grad = torch.ones_like(ours)
    for _, _, optimizer in (made, another):
        set_learning_rate(optimizer, 1e-2)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(made[1].values(), another[1].values(), strict=True))


def test_nothing_is_pickled_and_only_the_last_stay(tmp_path, made):
    saved = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 10):
        saved.save(step, *made, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000010"]
    names = {path.name for path in (tmp_path / "step-00000010").iterdir()}
    assert names == {"model.safetensors", "optimizer.safetensors", "state.json"}


def test_what_a_killed_process_left_is_no_checkpoint(tmp_path, made):
    saved = Checkpoints(tmp_path)
    assert saved.latest() is None
    saved.save(1, *made, {})
    left = tmp_path / ".step-00000002.123.partial"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    assert saved.latest().step == 1
    saved.save(3, *made, {})
    assert not left.exists()


@pytest.mark.parametrize("file", [1, 2])
def test_a_disk_that_fills_up_costs_no_checkpoint_that_was_there(file, tmp_path, made, monkeypatch):
    from safetensors import SafetensorError

    from captioners.training import checkpoint

    saved = Checkpoints(tmp_path, keep=1)
    saved.save(1, *made, {})
    genuine, calls = checkpoint.save_file, []

    def full(*arguments, **options):
        calls.append(arguments)
        if len(calls) == file:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        genuine(*arguments, **options)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(UserError, match="out of disk; the last checkpoint is kept"):
        saved.save(2, *made, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert saved.latest().step == 1


def test_a_damaged_checkpoint_is_said(tmp_path, made):
    saved = Checkpoints(tmp_path)
    path = saved.save(4, *made, {})
    (path / "optimizer.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match=r"optimizer\.safetensors: not readable .* remove .*step-00000004"):
        saved.restore(saved.latest(), *made)
    (path / "state.json").write_text("{")
    with pytest.raises(UserError, match=r"state\.json: damaged; remove .*step-00000004"):
        saved.latest()


def test_a_checkpoint_of_other_parameters_is_refused(tmp_path, made):
    saved = Checkpoints(tmp_path)
    saved.save(4, *made, {})
    model, parameters, optimizer = made
    fewer = dict(list(parameters.items())[:-1])
    with pytest.raises(UserError, match="other trained parameters"):
        saved.restore(saved.latest(), model, fewer, optimizer)


def test_saving_a_step_again_keeps_what_is_there(tmp_path, made):
    saved = Checkpoints(tmp_path)
    path = saved.save(4, *made, {"facts": 1})
    before = (path / "state.json").stat().st_mtime_ns
    assert saved.save(4, *made, {"facts": 1}) == path
    assert (path / "state.json").stat().st_mtime_ns == before
    assert json.loads((path / "state.json").read_text()) == {"facts": 1, "step": 4}
