"""The model of a training step's cost against what a real step runs and keeps, counted by torch itself."""

from contextlib import nullcontext
from dataclasses import replace
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from captioners.models import coca
from captioners.models.training_cost import Step, training_cost_of
from captioners.training.objective import CoCaObjective
from captioners.training.optimizer import trained_parameters

LENGTHS = (14, 9)
"""Tokens of two captions, with start and end."""
SHORT = Step(batch=2, micro_batch=2, tokens=14, labels=(13 + 8) / 2, compute_bytes=4)
LONG = Step(batch=2, micro_batch=2, tokens=255, labels=(254 + 119) / 2, compute_bytes=4)


def _config(name, layers=2, context=76, vocabulary=49408):
    """A real architecture's widths."""
    config = coca.with_context(coca.architecture(name), context)
    for tower in ("vision_cfg", "text_cfg", "multimodal_cfg"):
        config[tower] = {**config[tower], "layers": layers}
    config["text_cfg"]["vocab_size"] = vocabulary
    return config


def _text(*lengths):
    text = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    for row, length in zip(text, lengths, strict=True):
        row[:length] = torch.arange(1, length + 1)
    return text


def _counted(model, objective, tune, text):
    """(forward, backward) operations of a real step on the meta device, by torch's own count."""
    trained_parameters(model, objective.untrained(model, tune))
    images = torch.zeros(len(text), 3, *model.visual.image_size, device="meta")
    no_autocast = mock.patch.object(torch, "autocast", lambda *_, **__: nullcontext())  # the meta device has none
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), no_autocast:
        parts = objective(model, images, text)
        forward = counter.get_total_flops()
        parts.total.backward()
    return forward, counter.get_total_flops() - forward


@pytest.mark.parametrize("name", ["coca_ViT-B-32", "coca_ViT-L-14", "coca_base"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("tune", ["all", "text"])
@pytest.mark.parametrize(("step", "lengths", "context"), [(SHORT, LENGTHS, 76), (LONG, (255, 120), 255)])
def test_the_operations_of_a_step_are_those_that_torch_counts(name, weight, tune, step, lengths, context):
    model = coca.outline(_config(name, context=context))
    forward, backward = _counted(model, CoCaObjective(contrastive_weight=weight), tune, _text(*lengths))
    step = replace(step, contrastive=weight > 0, tune_image=tune == "all")
    modelled = step.batch * sum(training_cost_of(model).operations(step).values())
    assert modelled == pytest.approx(forward + backward, rel=0.01)


def test_the_count_sees_a_layer_less():
    """The negative control: the model of another depth is not within the tolerance above."""
    forward, backward = _counted(coca.outline(_config("coca_ViT-B-32")), CoCaObjective(), "all", _text(*LENGTHS))
    other = training_cost_of(coca.outline(_config("coca_ViT-B-32", layers=1)))
    assert SHORT.batch * sum(other.operations(SHORT).values()) < 0.8 * (forward + backward)


def test_the_whole_l14_is_what_was_worked_out_by_hand():
    cost = training_cost_of(coca.outline(coca.architecture("coca_ViT-L-14")))
    assert round(cost.parameters / 1e6, 2) == 638.45
    assert round(cost.image_parameters / 1e6, 2) == 306.72
    assert (cost.positions, cost.image_tokens, cost.pooled, cost.context) == (257, 255, 256, 76)
    parts = cost.operations(SHORT)
    # 24 blocks of 257 x 12 x 1024^2 + 2 x 257^2 x 1024, 256 patches of 588 x 1024 (no gradient of pixels), a pooler of
    # 256 queries; two operations each, three times for the gradients
    blocks = 24 * (257 * 12 * 1024**2 + 2 * 257**2 * 1024)
    pooler = 2 * 256 * 768**2 + 2 * 257 * 1024 * 768 + 2 * 256 * 257 * 768
    assert parts["image tower"] == 2 * (3 * (blocks + pooler) + 2 * 256 * 588 * 1024)
    # 12 blocks over 15 tokens and CLS, and CLS's projection
    assert parts["text tower"] == 6 * (12 * (16 * 12 * 768**2 + 2 * 16**2 * 768) + 768**2)
    # 12 x (a block, and cross-attention with its MLP over 13 positions), keys and values of 255 image tokens
    own, cross = 13 * 12 * 768**2 + 2 * 13**2 * 768, 13 * 10 * 768**2 + 2 * 13 * 255 * 768
    assert parts["decoder"] == 6 * 12 * (own + cross + 2 * 255 * 768**2)
    assert parts["vocabulary"] == 6 * 10.5 * 768 * 49408


def test_what_is_computed_twice_is_counted_twice():
    cost = training_cost_of(coca.outline(coca.architecture("coca_ViT-B-32")))
    whole = cost.operations(replace(SHORT, batch=64, micro_batch=64))
    parts = cost.operations(replace(SHORT, batch=64, micro_batch=16))
    first = parts.pop("features first, without gradients")
    assert parts == whole
    assert first == pytest.approx(cost.encode + whole["text tower"] / 3)
    assert "features first, without gradients" not in cost.operations(replace(SHORT, batch=64, contrastive=False))
    again = cost.operations(replace(SHORT, checkpointing=True))["computed again for gradients"]
    assert again == pytest.approx(sum(cost.operations(SHORT).values()) / 3, rel=0.15)  # all but pooler and vocabulary
    cached = cost.operations(replace(SHORT, tune_image=False, cached=True, contrastive=False))
    assert cached["image tower"] == 0
    five = cost.operations(replace(SHORT, captions=5))
    assert five["image tower"] == whole["image tower"]
    assert five["vocabulary"] == 5 * whole["vocabulary"]


class _Kept:
    """Counts the bytes that autograd keeps for the backward pass, each storage once, and parameters not at all."""

    def __init__(self, model, others=()):
        self.seen = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.seen |= {tensor.untyped_storage().data_ptr() for tensor in others}
        self.held, self.bytes = [], 0

    def pack(self, tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.seen:
            self.seen.add(storage.data_ptr())
            self.held.append(tensor)  # so that no other storage takes its address
            self.bytes += storage.nbytes()
        return tensor


def _kept(model, objective, text, autocast=False):
    images = torch.zeros(len(text), 3, *model.visual.image_size)
    kept = _Kept(model)
    hooks = torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        objective(model, images, text)
    return kept.bytes


def _modelled(model, step):
    cost = training_cost_of(model)
    parts = cost.memory(step)
    kept = sum(parts[f"{part}, for its gradients"] for part in ("image tower", "text tower", "decoder"))
    # Of the vocabulary's scores autograd keeps the log-softmax; the rest of its peak comes and goes.
    return kept + step.micro_batch * step.labels * cost.vocabulary * 4


@pytest.mark.parametrize(
    ("name", "step", "lengths", "context"),
    [
        ("coca_ViT-B-32", SHORT, LENGTHS, 76),
        ("coca_ViT-L-14", SHORT, LENGTHS, 76),
        ("coca_ViT-L-14", LONG, (255, 120), 255),
    ],
)
def test_the_memory_of_a_step_is_what_autograd_keeps(name, step, lengths, context):
    model = coca.build(_config(name, context=context, vocabulary=2000))
    trained_parameters(model, ())
    assert _modelled(model, step) == pytest.approx(_kept(model, CoCaObjective(), _text(*lengths)), rel=0.05)


def test_the_memory_of_a_step_in_bf16_is_what_autograd_keeps(monkeypatch):
    """On CUDA, autocast runs norms and cross-entropy in fp32; here they are told to."""
    norm, entropy = F.layer_norm, F.cross_entropy
    monkeypatch.setattr(F, "layer_norm", lambda x, *rest: norm(x.float(), *rest))
    monkeypatch.setattr(F, "cross_entropy", lambda x, *rest, **more: entropy(x.float(), *rest, **more))
    model = coca.build(_config("coca_ViT-L-14", vocabulary=2000))
    trained_parameters(model, ())
    # Copies of the weights are kept, too, for the gradients of what they multiply; looking up a row needs none.
    copies = 2 * sum(p.numel() for name, p in model.named_parameters() if p.ndim >= 2 and "embedding" not in name)
    found = _kept(model, CoCaObjective(), _text(*LENGTHS), autocast=True)
    modelled = _modelled(model, replace(SHORT, compute_bytes=2)) + copies
    assert modelled == pytest.approx(found, rel=0.05)


def test_what_a_gpu_holds_beside_the_step():
    cost = training_cost_of(coca.outline(coca.architecture("coca_ViT-L-14")))
    step = replace(SHORT, compute_bytes=2)
    whole = cost.memory(step)
    assert whole["weights"] + whole["gradients"] + whole["AdamW's two moments"] == 16 * cost.parameters
    frozen = cost.memory(replace(step, tune_image=False))
    assert frozen["weights"] == whole["weights"]
    assert frozen["gradients"] == 4 * (cost.parameters - cost.image_parameters)
    assert "image tower, for its gradients" not in frozen
    less = cost.memory(replace(step, checkpointing=True))
    assert less["image tower, for its gradients"] < 0.15 * whole["image tower, for its gradients"]
    assert "gradients in buckets, to be averaged" in cost.memory(replace(step, gpus=2))
