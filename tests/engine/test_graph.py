"""On a GPU the captured step is the step: captions are the CPU's but for near ties. Skipped where there is none."""

import pytest
import torch

import captioners
from captioners.core.package_data import SAMPLES

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

PHOTOS = sorted(SAMPLES.glob("*.jpg"))
DECODINGS = [{"top_p": 0.9, "max_tokens": 40}, {"beam": {"width": 4, "max_tokens": 20}}]


@pytest.mark.parametrize("decoding", DECODINGS)
def test_captions_on_cuda_are_those_of_the_cpu_within_rounding(decoding):
    on_gpu = captioners.load("random-tiny", device="cuda", precision="fp32", exact=True)
    on_cpu = captioners.load("random-tiny", device="cpu")
    draws = 1 if "beam" in decoding else 3
    theirs, ours = (teacher.caption(PHOTOS, draws=draws, decoding=decoding) for teacher in (on_gpu, on_cpu))
    same = [a.text == b.text for gpu, cpu in zip(theirs, ours, strict=True) for a, b in zip(gpu, cpu, strict=True)]
    assert sum(same) >= 0.8 * len(same)


def test_captions_on_cuda_do_not_depend_on_their_company():
    teacher = captioners.load("random-tiny", device="cuda", precision="fp32", exact=True)
    assert teacher.card["grade"] == "same-plan"
    together = teacher.caption(PHOTOS, draws=3, decoding=DECODINGS[0])
    for photo, draws in zip(PHOTOS, together, strict=True):
        alone = teacher.caption(photo, draws=2, decoding=DECODINGS[0])[0]
        assert [(a.text, a.logprob) for a in alone] == [(t.text, t.logprob) for t in draws[:2]]
