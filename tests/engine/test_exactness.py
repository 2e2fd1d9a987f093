"""Promise 1: a caption's bits do not depend on its company, its order, the number of draws or the threads.

At B-32 width and full depth of the text side, with flat random weights: there, plain arithmetic changes
log-probabilities between batch sizes, which the negative control shows.
"""

import random

import pytest
import torch
import torch.nn.functional as F

from captioners.decoding.values import Beam, Sample
from captioners.models.arithmetic import Plain
from tests.engine.runs import different, job, run
from tests.models.tiny import built, shallow_image

SAMPLES = (Sample(top_p=0.95), Sample(top_k=2000, temperature=1.3), Sample(min_p=0.05, repetition_penalty=1.2))
LIMIT = 6


@pytest.fixture
def threads():
    yield torch.set_num_threads
    torch.set_num_threads(2)


def _model():
    return built(shallow_image("coca_ViT-B-32"))


def _sampled(keys, draws):
    return [job(key, SAMPLES[key % len(SAMPLES)], draws=draws, limit=LIMIT, size=224) for key in keys]


def _shuffled(count):
    keys = list(range(count))
    random.Random(7).shuffle(keys)
    return keys


@pytest.mark.slow
def test_sampled_bits_are_equal_for_1_5_and_64_images_in_flight_2_and_10_draws_and_any_order(threads):
    threads(1)
    model = _model()
    many = run(model, _sampled(range(64), 2), slots=128, memories=64)
    five = run(model, _sampled(_shuffled(64), 2), slots=32, memories=5)
    ten = run(model, _sampled(range(12), 10), slots=64, memories=5)
    alone = run(model, _sampled(reversed(range(5)), 10), slots=32, memories=1)
    assert len(many) == len(five) == 128
    assert len({**many, **ten}) >= 200
    assert len({caption.tokens for caption in {**many, **ten}.values()}) > 200, "flat weights must give varied captions"
    pairs = ((many, five), (many, ten), (ten, alone), (five, alone))
    assert [different(*pair) for pair in pairs] == [[]] * len(pairs)
    threads(2)
    two = run(model, _sampled(range(12), 10), slots=96, memories=9)
    assert (different(ten, two), different(many, two)) == ([], [])


@pytest.mark.slow
def test_beam_bits_are_equal_for_any_company_and_threads(threads):
    threads(1)
    model, beam = _model(), Beam(width=4, min_tokens=2)
    diverse = Beam(width=4, groups=2, diversity_penalty=0.5, min_tokens=2)

    def jobs(keys):
        return [job(key, diverse if key % 3 == 0 else beam, draws=3, limit=LIMIT, size=224) for key in keys]

    alone = run(model, jobs(range(12)), slots=32, memories=1)
    many = run(model, jobs(_shuffled(24)), slots=96, memories=24)
    assert len(alone) == 36
    assert different(alone, many) == []
    threads(2)
    assert different(many, run(model, jobs(range(12)), slots=64, memories=16)) == []


@pytest.mark.parametrize("count", [3, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 5, 8))])
def test_threads_do_not_change_a_bit(threads, count):
    model = _model()
    threads(1)
    one = run(model, _sampled(range(4), 3), slots=32, memories=4, length=6)
    threads(count)
    assert different(one, run(model, _sampled(range(4), 3), slots=32, memories=2, length=6)) == []


class _ByCompany(Plain):
    """Sums in an order that depends on the number of rows, as many libraries' do: not on every CPU, so it is made here.

    (MKL on an AVX-512 Xeon changed a quarter of the captions by itself; on an EPYC it changed none.)
    """

    def linear(self, x, weight, bias):
        cut = weight.shape[1] // (2 if len(x) < 32 else 4)
        return F.linear(x[:, :cut], weight[:, :cut], bias) + F.linear(x[:, cut:], weight[:, cut:])

    image = linear


@pytest.mark.slow
def test_arithmetic_by_company_fails_what_exact_arithmetic_passes(threads):
    """The negative control: were the test blind, it would pass here too."""
    threads(1)
    model = _model()
    many = run(model, _sampled(range(10), 4), slots=40, memories=10, arithmetic=_ByCompany())
    alone = run(model, _sampled(range(10), 4), slots=4, memories=1, arithmetic=_ByCompany())
    assert len(different(many, alone)) > len(alone) // 4
