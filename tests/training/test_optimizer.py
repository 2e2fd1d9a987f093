import math

import pytest
import torch

from captioners.models import coca
from captioners.training.optimizer import (
    is_decayed,
    learning_rate,
    make_optimizer,
    set_learning_rate,
    trained_parameters,
)
from tests.models.tiny import tiny_config


@pytest.mark.parametrize(("warmup", "total"), [(0, 20), (1, 20), (5, 20), (20, 20)])
def test_the_learning_rate_is_that_of_open_clips_trainer(warmup, total):
    from open_clip_train.scheduler import cosine_lr

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    adjust = cosine_lr(optimizer, 3e-4, warmup, total)
    wanted = []
    for step in range(total):
        adjust(step)
        wanted.append(optimizer.param_groups[0]["lr"])
    found = [learning_rate(step, peak=3e-4, warmup=warmup, total=total) for step in range(total)]
    assert found == pytest.approx(wanted, rel=1e-12)


def test_the_learning_rate_ends_near_zero():
    assert learning_rate(99, peak=1.0, warmup=10, total=100) < 1e-3
    assert learning_rate(100, peak=1.0, warmup=10, total=100) == pytest.approx(0, abs=1e-15)


def test_what_is_not_decayed():
    parameters = dict(coca.build(tiny_config()).named_parameters())
    kept = {name for name, parameter in parameters.items() if not is_decayed(name, parameter)}
    assert {"logit_scale", "text.positional_embedding", "visual.positional_embedding", "text.cls_emb"} <= kept
    assert {"visual.class_embedding", "visual.ln_pre.weight", "text_decoder.resblocks.0.attn.in_proj_bias"} <= kept
    decayed = set(parameters) - kept
    assert {"text.token_embedding.weight", "text_decoder.text_projection", "visual.conv1.weight"} <= decayed
    assert all(name.endswith(("bias", "embedding", "cls_emb", "logit_scale")) or "ln_" in name for name in kept)


def test_each_trained_parameter_is_in_one_group():
    model = coca.build(tiny_config())
    parameters = trained_parameters(model, {"logit_scale", "text.cls_emb"})
    assert not model.logit_scale.requires_grad
    optimizer = make_optimizer(parameters, weight_decay=0.2)
    grouped = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(grouped) == len({id(p) for p in grouped}) == len(list(model.parameters())) - 2
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.2, 0.0]
    assert trained_parameters(model, ()).keys() == dict(model.named_parameters()).keys()
    assert model.logit_scale.requires_grad


def test_a_step_is_adamw_as_published():
    """Loshchilov and Hutter 2019, algorithm 2, written out for a matrix, with PyTorch's decay of lr * weight_decay."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.nn.Parameter(torch.randn(3, 4, generator=generator, dtype=torch.float64))
    optimizer = make_optimizer({"a.weight": matrix}, weight_decay=0.1)
    wanted, m, v = matrix.detach().clone(), 0.0, 0.0
    for step, rate in enumerate((1e-2, 3e-3, 1e-3), start=1):
        gradient = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        matrix.grad = gradient.clone()
        set_learning_rate(optimizer, rate)
        optimizer.step()
        m, v = 0.9 * m + 0.1 * gradient, 0.95 * v + 0.05 * gradient**2
        wanted -= rate * 0.1 * wanted
        wanted -= rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.95**step)).sqrt() + 1e-6)
    assert (matrix.detach() - wanted).abs().max() < 1e-12
    assert math.isclose(optimizer.param_groups[0]["lr"], 1e-3)
