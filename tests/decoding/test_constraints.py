"""Limits on what may come next: equal to `transformers`' processors, and the pad token never comes."""

import pytest
import torch
from transformers.generation.logits_process import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

from captioners.decoding.constraints import constrain
from captioners.decoding.values import Limits

END, VOCABULARY = 9, 10


def _rows(lengths, places=12, seed=0):
    """Histories of those lengths over few tokens, so that n-grams repeat; unused places hold 0."""
    generator = torch.Generator().manual_seed(seed)
    history = torch.randint(1, 4, (len(lengths), places), generator=generator)
    length = torch.tensor(lengths)
    history[torch.arange(places) >= length[:, None]] = 0
    return torch.randn(len(lengths), VOCABULARY, generator=generator), history, length


def _ours(scores, history, length, prompt=0, **limits):
    return constrain(scores.clone(), history, length, length - prompt, Limits(**{"min_tokens": 0, **limits}), END)


def _theirs(processor, scores, history, length):
    rows = [processor(history[row : row + 1, :n], scores[row : row + 1].clone()) for row, n in enumerate(length)]
    found = torch.cat(rows)
    found[:, 0] = float("-inf")
    return found


@pytest.mark.parametrize("penalty", [1.3, 0.8])
@pytest.mark.parametrize("shift", [0.0, -8.0], ids=["logits", "log-probabilities"])
def test_repetition_penalty_equals_transformers(penalty, shift):
    scores, history, length = _rows([1, 3, 7, 12])
    wanted = _theirs(RepetitionPenaltyLogitsProcessor(penalty), scores + shift, history, length)
    assert torch.equal(_ours(scores + shift, history, length, repetition_penalty=penalty), wanted)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_no_repeat_ngram_equals_transformers(size, seed):
    scores, history, length = _rows([1, 2, 4, 6, 9, 12], seed=seed)
    wanted = _theirs(NoRepeatNGramLogitsProcessor(size), scores, history, length)
    assert torch.equal(_ours(scores, history, length, no_repeat_ngram=size), wanted)
    assert size == 5 or (wanted[:, 1:] == float("-inf")).any(), "nothing was forbidden, so nothing was tested"


def test_an_ngram_longer_than_the_history_forbids_nothing():
    scores, history, length = _rows([1, 2, 3], places=3)
    assert torch.isfinite(_ours(scores, history, length, no_repeat_ngram=4)[:, 1:]).all()


def test_prompt_tokens_count_for_repetition_but_not_for_length():
    scores, history, length = torch.ones(1, VOCABULARY), torch.tensor([[5, 6, 5]]), torch.tensor([3])
    found = _ours(scores, history, length, prompt=2, no_repeat_ngram=2, repetition_penalty=2.0, min_tokens=2)
    assert found[0].tolist() == pytest.approx([float("-inf"), 1, 1, 1, 1, 0.5, float("-inf"), 1, 1, float("-inf")])


def test_the_end_is_forbidden_until_the_least_length_and_the_pad_token_always():
    scores, history, length = _rows([0, 4, 5, 6])
    found = _ours(scores, history, length, min_tokens=5)
    assert (found[:, END] == float("-inf")).tolist() == [True, True, False, False]
    assert (found[:, 0] == float("-inf")).all()
    assert torch.equal(found[:, 1:END], scores[:, 1:END])


def test_no_history_at_all_is_fine():
    scores = torch.randn(2, VOCABULARY, generator=torch.Generator().manual_seed(1))
    empty = torch.zeros(2, 0, dtype=torch.long)
    found = _ours(scores, empty, torch.zeros(2, dtype=torch.long), repetition_penalty=1.5, no_repeat_ngram=3)
    assert torch.equal(found[:, 1:], scores[:, 1:])
