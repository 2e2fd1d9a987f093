"""Beam search equals brute force, `transformers` and a slow diverse search, and stops neither early nor late."""

import functools
import math

import numpy as np
import pytest
import torch

from captioners.decoding.beam import BeamSearch
from captioners.decoding.values import Beam
from tests.decoding.slow import diverse_beam, every_caption, log_softmax

END, VOCABULARY = 5, 6


def toy_model(seed, spread=1.5):
    """Log-probabilities [V] after any content, the same every time."""

    @functools.cache
    def step(content):
        generator = np.random.default_rng([seed, *content])
        return log_softmax(generator.normal(size=VOCABULARY) * spread)

    return step


def search(step, options, most, count, end=END):
    """Drive `BeamSearch` by full histories, as an engine would; return its best and how many steps it took."""
    beams = BeamSearch(options, end, most)
    histories = [()] * options.width
    while not beams.done:
        tokens, sources = beams.advance(torch.tensor(np.array([step(h) for h in histories])))
        histories = [(*histories[source], token) for token, source in zip(tokens, sources, strict=True)]
        assert beams.written <= most
    return beams.best(count), beams.written


def _as_pairs(hypotheses):
    return [(h.tokens, h.ended, pytest.approx(h.score, abs=1e-5)) for h in hypotheses]


@pytest.mark.parametrize("alpha", [1.0, 0.0, 0.6, 2.0, -0.5])
@pytest.mark.parametrize("least", [0, 2])
@pytest.mark.parametrize("seed", range(3))
def test_full_width_beam_equals_brute_force_over_all_captions(alpha, least, seed):
    step, most = toy_model(seed), 4
    scored = [
        (content, ended, total / (len(content) + ended) ** alpha)
        for content, total, ended in every_caption(step, VOCABULARY, END, most, least)
        if len(content) + ended <= most
    ]
    scored.sort(key=lambda s: -s[2])
    options = Beam(width=1300, length_penalty=alpha, min_tokens=least)
    found, _ = search(step, options, most, 10)
    assert _as_pairs(found) == scored[:10]


def _gpt(seed, vocabulary=40):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocabulary, n_positions=32, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2,
        initializer_range=0.6, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return GPT2LMHeadModel(config).eval()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("early", "alpha", "least"), [("never", 1.0, 0), ("never", 0.0, 3), ("never", 2.0, 0), (True, 1.0, 2)]
)
@torch.inference_mode()
def test_equals_transformers_generate_on_a_tiny_decoder(seed, early, alpha, least):
    torch.set_num_threads(1)
    model, most, end = _gpt(seed), 9, 2
    theirs = model.generate(
        torch.tensor([[1]]), num_beams=4, num_return_sequences=3, do_sample=False, max_new_tokens=most,
        min_new_tokens=least, early_stopping=early, length_penalty=alpha, pad_token_id=0, eos_token_id=end,
        suppress_tokens=[0], return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip

    @functools.cache
    def step(content):
        return model(torch.tensor([[1, *content]])).logits[0, -1].log_softmax(0).numpy()

    options = Beam(width=4, length_penalty=alpha, early_stopping=early is True, min_tokens=least)
    ours, _ = search(step, options, most, 3, end)
    for hypothesis, ids, score in zip(ours, theirs.sequences.tolist(), theirs.sequences_scores.tolist(), strict=True):
        written = ids[1 : ids.index(end) + 1] if end in ids else [token for token in ids[1:] if token != 0]
        assert [*hypothesis.tokens, *[end] * hypothesis.ended] == written
        assert hypothesis.score == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("alpha", [1.0, 0.0, -0.7])
def test_diverse_beam_equals_a_slow_reference(seed, alpha):
    step, most = toy_model(seed, spread=2.0), 5
    options = Beam(width=6, groups=3, diversity_penalty=0.9, length_penalty=alpha, min_tokens=0)
    beams = BeamSearch(options, END, most)
    histories = [()] * 6
    while not beams.done:
        tokens, sources = beams.advance(torch.tensor(np.array([step(h) for h in histories])))
        histories = [(*histories[source], token) for token, source in zip(tokens, sources, strict=True)]
    wanted = diverse_beam(step, end=END, most=most, width=6, groups=3, penalty=0.9, alpha=alpha)
    found = [[(h.tokens, pytest.approx(h.score, abs=1e-5)) for h in group.finished] for group in beams.groups]
    assert found == wanted
    firsts = [group[0][1] for group in wanted]
    assert [h.score for h in beams.best(3)] == pytest.approx(sorted(firsts, reverse=True), abs=1e-5)


def test_the_diversity_penalty_makes_groups_differ_and_stays_out_of_the_score():
    step = toy_model(1)
    found, _ = search(step, Beam(width=4, groups=4, diversity_penalty=50.0, min_tokens=1), 4, 4)
    assert len({h.tokens[0] for h in found}) == 4
    for h in found:
        whole = (*h.tokens, *[END] * h.ended)
        total = sum(step(whole[:place])[token] for place, token in enumerate(whole))
        assert h.logprob == pytest.approx(total, abs=1e-5)
        assert h.score == pytest.approx(total / len(whole), abs=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 0.0, 3.0, -1.0])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("seed", range(8))
def test_no_image_stops_while_a_running_beam_could_still_win(alpha, groups, seed):
    """Give the running beams, once a search is done early, the best future there is: certainty at every step."""
    step, most = toy_model(seed, spread=3.0), 6
    penalty = 0.5 if groups > 1 else 0.0
    options = Beam(width=4, groups=groups, diversity_penalty=penalty, length_penalty=alpha, min_tokens=0)
    beams, histories = BeamSearch(options, END, most), [()] * 4
    while not beams.done:
        before = [group.done for group in beams.groups]
        tokens, sources = beams.advance(torch.tensor(np.array([step(h) for h in histories])))
        histories = [(*histories[source], token) for token, source in zip(tokens, sources, strict=True)]
        for group, was_done in zip(beams.groups, before, strict=True):
            if was_done or beams.written == most:
                continue
            reachable = [
                score / length**alpha
                for score in group.scores
                if score > -math.inf
                for length in range(beams.written + 1, most + 1)
            ]
            could_win = len(group.finished) < group.size or max(reachable) > group.finished[-1].score
            assert group.done is not could_win


def test_early_stopping_stops_at_the_first_captions_and_never_later():
    for seed in range(10):
        step = toy_model(seed, spread=2.0)
        early, steps = search(step, Beam(width=3, early_stopping=True, min_tokens=0, length_penalty=2.0), 8, 3)
        late, more = search(step, Beam(width=3, min_tokens=0, length_penalty=2.0), 8, 3)
        assert steps <= more
        assert late[0].score >= early[0].score - 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_of_one_is_greedy(seed):
    step, most, content = toy_model(seed), 7, ()
    while len(content) < most:
        table = step(content).copy()
        table[0] = -math.inf
        if len(content) < 1:
            table[END] = -math.inf
        if int(table.argmax()) == END:
            break
        content = (*content, int(table.argmax()))
    (found,), steps = search(step, Beam(width=1, min_tokens=1), most, 1)
    assert found.tokens == content
    assert found.ended == (len(content) < most)
    assert steps == len(content) + found.ended


def test_limits_hold_in_every_beam():
    step = toy_model(3)
    options = Beam(width=3, min_tokens=3, no_repeat_ngram=1, early_stopping=True)
    found, _ = search(step, options, 4, 3)
    assert len(found) == 3
    for h in found:
        assert 3 <= len(h.tokens) <= 4
        assert len(set(h.tokens)) == len(h.tokens)
        assert not {0, END} & set(h.tokens)


def test_more_beams_than_continuations_is_no_error():
    found, _ = search(toy_model(0), Beam(width=8, min_tokens=0, no_repeat_ngram=1), 3, 8)
    assert len(found) == 8
    assert len({(h.tokens, h.ended) for h in found}) == 8
