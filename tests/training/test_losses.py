"""The sums that losses are made of, in the precision that they claim."""

import pytest
import torch

from captioners.training.losses import caption_sum


@pytest.fixture
def scored():
    """Logits in bf16, as autocast makes them, and labels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 1000, generator=generator).bfloat16()
    return logits, torch.randint(0, 1000, (200,), generator=generator)


def test_the_caption_loss_of_bf16_logits_is_summed_in_fp32(scored):
    logits, labels = scored
    exact = -logits.double().log_softmax(1)[torch.arange(200), labels].sum()
    loss = caption_sum(logits, labels)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(exact), rel=1e-6)
    assert abs(float(loss.bfloat16()) - float(exact)) > 1e-4 * float(exact)  # what bf16 would have made of it


def test_the_gradient_of_bf16_logits_is_off_by_its_own_rounding_alone(scored):
    logits, labels = scored
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(caption_sum(logits, labels), logits)
    exact = logits.detach().double().softmax(1)
    exact[torch.arange(200), labels] -= 1
    torch.testing.assert_close(gradient.double(), exact, rtol=2**-8, atol=0)


def test_float64_stays_float64(scored):
    logits, labels = scored
    assert caption_sum(logits.double(), labels).dtype == torch.float64
