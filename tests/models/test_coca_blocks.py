"""Recomputed and compiled blocks are the plain ones."""

import pytest
import torch

from captioners.core.errors import UserError
from captioners.models import coca
from captioners.models.coca_blocks import Blocks
from captioners.models.coca_training import forward, trim
from tests.models.tiny import images, tiny_config
from tests.training.runs import captions


def _gradients(blocks, context=24):
    model = coca.build(tiny_config(), 1).double().train()
    out = forward(model, images(3).double(), trim(captions([5, 9, 7]), context), contrastive=True, blocks=blocks)
    (out.logits.square().mean() + (out.image_latent * out.text_latent).sum()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _differ(one, other):
    assert one.keys() == other.keys()
    return max(float((one[name] - gradient).abs().max()) for name, gradient in other.items())


def test_recomputed_blocks_keep_less_and_give_the_same():
    kept = []
    for blocks in (Blocks(), Blocks(recomputed=True)):
        seen = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, seen=seen: seen.append(t.numel()) or t, lambda t: t):
            model = coca.build(tiny_config(), 1)
            out = forward(model, images(3), trim(captions([5, 9, 7]), 24), contrastive=True, blocks=blocks)
            kept.append(sum(seen))
        assert out.logits.requires_grad
    assert kept[1] < kept[0] / 2
    assert _differ(_gradients(Blocks()), _gradients(Blocks(recomputed=True))) < 1e-12


@pytest.mark.slow
def test_compiled_blocks_give_the_same():
    assert _differ(_gradients(Blocks()), _gradients(Blocks(compiled=True))) < 1e-9


def test_other_blocks_are_refused():
    with pytest.raises(UserError, match="blocks of a kind that is not trained here"):
        Blocks()(torch.nn.Identity(), torch.zeros(1, 2))
