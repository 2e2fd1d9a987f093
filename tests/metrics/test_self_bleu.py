"""captioners/metrics/self_bleu.py, against frozen numbers and against BLEU of every caption by itself."""

import numpy as np
import pytest

from captioners.metrics.hashed import Batch
from captioners.metrics.self_bleu import bleu_of, corpus_mbleu, mbleu, others_counts
from tests.metrics import oracle
from tests.metrics.oracle import T5


def test_the_five_captions_are_the_frozen_ones():
    counts = others_counts(Batch.of([T5]))
    found = [float(mbleu(counts, n)[0]) for n in (1, 2, 3, 4)]
    assert found == pytest.approx([0.8095238095, 0.7431964075, 0.6445685670, 0.4], abs=1e-9)
    assert bleu_of(counts)[0].tolist() == pytest.approx([1, 0, 0, 0, 1])


def test_by_hand():
    counts = others_counts(Batch.of([["a b c d", "a b c d e", "f g h i"]]))
    assert bleu_of(counts)[0] == pytest.approx([1, 0.2**0.25, 0])
    assert mbleu(counts) == pytest.approx([0.556246768325], abs=1e-12)
    brief = others_counts(Batch.of([["a b c d", "a b c d e"]]))
    assert bleu_of(brief)[0, 0] == pytest.approx(np.exp(-0.25))


def test_equal_captions_of_fewer_than_four_words_count_as_equal():
    """Unsmoothed BLEU-4 of them is 0 or undefined, and would say that they have nothing in common."""
    assert mbleu(others_counts(Batch.of([["a red circle"] * 3, ["red"] * 3, ["a b c", "d e f", "g"]]))).tolist() == [
        1,
        1,
        0,
    ]


def test_captions_without_a_word_are_left_out():
    assert mbleu(others_counts(Batch.of([["a b c d", "a b c d", ""]]))) == pytest.approx([1.0])
    assert np.isnan(mbleu(others_counts(Batch.of([["", "..."]])))).all()


@pytest.mark.parametrize("m", [2, 3, 7])
def test_bleu_of_each_caption_by_itself_agrees(m):
    images = oracle.corpus(80, m, letters=4)
    counts = others_counts(Batch.of(images))
    for n in (1, 2, 4):
        assert mbleu(counts, n) == pytest.approx([oracle.mbleu(one, n) for one in images], nan_ok=True)


def test_the_two_aggregations_differ():
    again = ["three red squares in a row", "a row of three red squares", "three red squares in a row"]
    counts = others_counts(Batch.of([T5[:3], oracle.TRIANGLES, again]))
    assert mbleu(counts).mean() == pytest.approx(0.2222222, abs=1e-6)
    assert corpus_mbleu(counts.sum(axis=0)) == pytest.approx(0.3737854, abs=5e-5)  # its last digits are epsilons
