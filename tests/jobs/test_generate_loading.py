"""What a worker may plan with, and what has to be said where workers compute on another device than who starts them."""

import pytest
import torch

from captioners.core.errors import UserError
from captioners.jobs.generate.loading import budget_of
from captioners.jobs.generate.setup import _check_precise
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.kinds import _device

RAY = {"kind": "ray", "most": 64, "gpus": 1}


def recipe(executor="local", workers=1, **more):
    member = {"captioner": "random-tiny", "name": "a", **more}
    fields = {"source": {"kind": "drawn"}, "members": [member], "executor": executor, "workers": workers}
    return GenerateRecipe.model_validate(fields, strict=False)


class OnGpu:
    device_type = "cuda"


@pytest.mark.parametrize(
    ("executor", "workers", "gpus", "share"),
    [
        ("local", 16, 1, 16),
        ("local", 16, 8, 2),
        (RAY, 16, 1, 1),
        (RAY | {"gpus": 0.5}, 16, 1, 2),
        ("slurm", 16, 1, 1),
    ],
)
def test_memory_is_divided_among_those_who_share_a_device(monkeypatch, executor, workers, gpus, share):
    """It used to be divided by `workers:` whatever the executor: a 16th of a GPU for an actor that had it alone."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(_device, "device_named", lambda name: name)
    monkeypatch.setattr(_device, "free_memory", lambda device: 80 * 10**9)
    found = budget_of(recipe(executor, workers), OnGpu())
    assert found == (None if share == 1 else 80 * 10**9 // share), "None: all that is free"


def test_actors_without_a_gpu_share_their_machine(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    shares = [
        recipe({"kind": "ray", "cpus": cpus, "most": most}).executor.sharing(1) for cpus, most in ((2, 64), (1, 3))
    ]
    assert shares == [4, 3]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ({}, "precision: and exact:"),
        ({"precision": "bf16"}, "say exact: for it"),
        ({"exact": False}, "say precision: for it"),
        ({"precision": "bf16", "exact": False}, ""),
    ],
)
@pytest.mark.parametrize("executor", [RAY, RAY | {"gpus": 0}, "local", "slurm"])
def test_a_head_on_another_device_than_its_actors_asks_for_what_would_differ(monkeypatch, said, left, executor):
    """Layers used to be claimed by what a head without a GPU resolves; actors then found it changed."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = recipe(executor, **said)
    if executor == RAY and left:
        with pytest.raises(UserError, match=r"member 'a': .*on cpu and executor ray \(gpus: 1\) on cuda") as caught:
            _check_precise(asked)
        assert left in str(caught.value)
    else:
        _check_precise(asked)


def test_a_kind_is_asked_only_for_what_it_has(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="say precision: for it"):
        _check_precise(recipe(RAY, captioner={"kind": "transformers", "model": "a/b"}))
    endpoint = {"kind": "endpoint", "model": "m", "base_url": "http://127.0.0.1:1/v1"}
    _check_precise(recipe(RAY, captioner=endpoint, prompt="Describe it.", decoding={"sample": {"min_tokens": 0}}))
