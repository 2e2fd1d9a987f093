"""Sampled tokens follow the filtered distribution exactly, whichever way its edge was found."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from captioners.core.seeds import Stream
from captioners.decoding.sampling import _draw_wide, _edge_by_bisection, draw, filtered, nucleus_edge, pick
from captioners.decoding.values import Sample
from tests.decoding.slow import distribution

COMBINATIONS = [
    {},
    {"temperature": 0.6},
    {"temperature": 1.7},
    {"top_k": 12},
    {"top_p": 0.8},
    {"min_p": 0.08},
    {"top_p": 0.75, "temperature": 1.5},
    {"top_k": 30, "top_p": 0.9},
    {"top_p": 0.95, "min_p": 0.05, "temperature": 1.3},
    {"top_k": 25, "top_p": 0.85, "min_p": 0.03, "temperature": 0.8},
]
DRAWS = 40_000


def _logits(vocabulary=60, spread=1.5, seed=3):
    return torch.randn(1, vocabulary, generator=torch.Generator().manual_seed(seed)) * spread


def _p_value(logits, options, wanted):
    """Of the chi-square test that what we sample with fixed uniforms follows `wanted`; 0 where it left its support."""
    weights = filtered(logits, Sample(**options)).expand(DRAWS, -1)
    uniforms = torch.from_numpy(Stream(0, "ab" * 32).uniforms(0, 0, DRAWS))
    counts = np.bincount(pick(weights, uniforms).numpy(), minlength=logits.shape[1])
    inside = wanted > 0
    if counts[~inside].any():
        return 0.0
    if inside.sum() == 1:
        return 1.0
    return chisquare(counts[inside], wanted[inside] * DRAWS).pvalue


@pytest.mark.parametrize("options", COMBINATIONS, ids=str)
def test_frequencies_follow_the_filtered_distribution(options):
    logits = _logits()
    assert _p_value(logits, options, distribution(logits[0].numpy(), **options)) > 1e-3


@pytest.mark.parametrize("options", [o for o in COMBINATIONS if "temperature" in o and len(o) > 1], ids=str)
def test_temperature_after_the_filter_is_rejected(options):
    """The negative control: open_clip's order gives another distribution, and the test sees it."""
    logits = _logits()
    wrong = distribution(logits[0].numpy(), **options, temperature_last=True)
    assert _p_value(logits, options, wrong) < 1e-6


def test_many_rows_are_filtered_as_each_alone():
    rows = torch.cat([_logits(500, spread, seed) for seed, spread in enumerate((0.01, 0.5, 2, 6, 30))])
    options = {"top_k": 300, "top_p": 0.9, "min_p": 0.001, "temperature": 1.2}
    weights = filtered(rows.clone(), Sample(**options))
    for row, found in zip(rows, weights, strict=True):
        wanted = distribution(row.numpy(), **options)
        assert np.allclose((found / found.sum()).numpy(), wanted, atol=1e-6)
        assert torch.equal(filtered(row[None], Sample(**options))[0], found)


def _brute_edge(weights, top_p):
    mass = 0.0
    for weight in sorted(weights.tolist(), reverse=True):
        mass += weight
        if mass >= top_p:
            return weight
    return weight


def _families():
    generator = torch.Generator().manual_seed(5)
    flat = torch.full((1, 512), 1 / 512)  # every token tied; sums of it are exact
    peaked = torch.zeros(1, 512)
    peaked[0, 77] = 1.0
    ties = torch.tensor([[0.25, 0.125, 0.125, 0.25, 0.125, 0.125]])
    return {
        "flat": flat,
        "peaked": peaked,
        "ties": ties,
        "narrow": (torch.randn(6, 512, generator=generator) * 4).softmax(1),
        "wide": (torch.randn(6, 512, generator=generator) * 0.2).softmax(1),
        "beyond the head": torch.randn(3, 4096, generator=generator).softmax(1),
    }


@pytest.mark.parametrize("name", _families())
@pytest.mark.parametrize("top_p", [1e-6, 0.25, 0.3, 0.5, 0.9, 0.999, 1.0])
def test_head_sort_and_bisection_find_the_edge_that_brute_force_finds(name, top_p):
    weights = _families()[name]
    ours, bisected = nucleus_edge(weights, top_p), _edge_by_bisection(weights, top_p)
    for row, edge, other in zip(weights, ours, bisected, strict=True):
        wanted = _brute_edge(row, top_p)
        kept = row >= wanted
        assert torch.equal(row >= edge, kept), (float(edge), wanted)
        assert torch.equal((row >= other)[row > 0], kept[row > 0]), (float(other), wanted)


def test_pick_inverts_the_cdf_in_vocabulary_order_at_exact_boundaries():
    weights = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    below = np.nextafter(0.25, 0), np.nextafter(0.75, 0), np.nextafter(1.0, 0)
    uniforms = torch.tensor([0.0, below[0], 0.25, below[1], 0.75, below[2]], dtype=torch.float64)
    assert pick(weights.expand(6, -1), uniforms).tolist() == [1, 1, 3, 3, 4, 4]


def test_a_forbidden_token_is_never_drawn_and_the_last_one_can_be():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(200, 50, generator=generator)
    weights[:, ::2] = 0
    weights = weights * 1e-6  # the total does not matter
    for uniforms in (torch.zeros(200), torch.full((200,), 1 - 2.0**-53), torch.rand(200, generator=generator)):
        assert (pick(weights, uniforms.double()) % 2 == 1).all()
    assert (pick(weights, torch.full((200,), 1 - 2.0**-53, dtype=torch.float64)) == 49).all()


def test_a_filter_of_one_leaves_the_likeliest_token():
    logits = _logits()
    for options in ({"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}):
        assert filtered(logits, Sample(**options)).nonzero().tolist() == [[0, int(logits.argmax())]]


@pytest.mark.parametrize("vocabulary", [61, 130, 1000, 49408])
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0, 8.0, 20.0])
def test_draw_is_pick_of_filtered(vocabulary, scale):
    """The ways through a narrow and a wide nucleus are the plain one, to the token; rounded scores make ties."""
    generator = torch.Generator().manual_seed(vocabulary)
    rows = 16
    wanted = torch.ones(rows, dtype=torch.bool)
    for options in (
        Sample(top_p=0.9),
        Sample(top_p=0.5, top_k=40),
        Sample(top_p=0.95, min_p=0.02, temperature=1.5),
        Sample(top_p=0.99999),
        Sample(top_k=5),
        Sample(top_p=1.0),
    ):
        scores = torch.randn(rows, vocabulary, generator=generator) * scale
        for table in (scores, scores.round()):
            uniform = torch.rand(rows, generator=generator, dtype=torch.float64)
            assert torch.equal(draw(table, options, uniform, wanted), pick(filtered(table, options), uniform))


def test_a_wide_draw_at_the_very_end_never_leaves_the_nucleus():
    """Regression: a number just below 1 and zeros at the vocabulary's end once met an empty block."""
    weights = torch.zeros(640)
    weights[:200] = 1 / 200
    for number in (0.0, 0.5, float(np.nextafter(1.0, 0.0))):
        assert _draw_wide(weights.numpy(), Sample(top_p=0.999), number) < 200
