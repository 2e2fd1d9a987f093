"""A step and its sampling never wait for the device: on a fake GPU, which has no data, nothing asks for any."""

import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from captioners.decoding.values import Sample
from captioners.engine.rows import Rows
from captioners.models.arithmetic import Plain
from captioners.models.coca_step import CoCaStep
from tests.models.tiny import built, tiny_config

SLOTS, VOCABULARY = 8, 96
EVERYTHING = Sample(
    temperature=0.7, top_k=20, top_p=0.9, min_p=0.01, repetition_penalty=1.2, no_repeat_ngram=2, min_tokens=3
)


def _on_a_fake_gpu(work):
    model = copy.deepcopy(built(tiny_config()))
    with FakeTensorMode(), torch.inference_mode():
        for module in model.modules():
            for name, tensor in module.named_parameters(recurse=False):
                fake = torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")
                setattr(module, name, torch.nn.Parameter(fake, requires_grad=False))
        work(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_and_its_sampling_need_nothing_from_the_device(dtype):
    def work(model):
        step = CoCaStep(model, slots=SLOTS, memories=4, max_tokens=24, arithmetic=Plain(granularity=SLOTS), dtype=dtype)
        assert step.device.type == "cuda"
        rows = Rows(SLOTS, 24, VOCABULARY - 1, step.device)
        step.remember(0, torch.empty(15, 64, device="cuda"))
        member = torch.empty(SLOTS, dtype=torch.bool, device="cuda")
        for age in range(3):
            logits = step.step(rows.token, age, 4, 8)
            assert (logits.device.type, logits.dtype, logits.shape) == ("cuda", torch.float32, (SLOTS, VOCABULARY))
            rows.sample(logits, EVERYTHING, member)

    _on_a_fake_gpu(work)


def test_asking_for_data_fails_on_the_fake_gpu():
    """The negative control: the mode does notice."""

    def work(model):
        rows = Rows(SLOTS, 24, VOCABULARY - 1, model.text.cls_emb.device)
        rows.token.tolist()

    with pytest.raises(Exception, match=r"data.dependent|_local_scalar_dense"):
        _on_a_fake_gpu(work)
