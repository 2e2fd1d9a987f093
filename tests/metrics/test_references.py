"""captioners/metrics/references.py, against numbers frozen from pycocoevalcap 1.2, and by hand."""

from math import exp, log, sqrt

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.references import bleu, bleu_counts, cider_d, document_frequencies, rouge_l

B = [["a b c d"], ["a e f g"]]
A_REFERENCES = [
    ["a red circle above a blue square", "a red circle over a blue square"],
    ["two green triangles", "two small green triangles side by side"],
    ["a large yellow star", "one big yellow star"],
]
A_CANDIDATES = ["a red circle above a blue square", "two green triangles side by side", "a yellow circle"]


@pytest.mark.parametrize(
    ("candidates", "references", "found"),
    [
        (["a b c d", "a e f h"], B, [10.0, 4.583333333333334]),
        (["a b c d e", "a e f g"], B, [8.026873279496323, 10.0]),
        (["b c d b b", "a e f g"], [["b b c d"], ["a e f g"]], [4.962650031084653, 10.0]),
        (A_CANDIDATES, A_REFERENCES, [7.3578989776197385, 5.525986124286089, 0.9628656004985292]),
    ],
    ids=["B1", "B2 length", "B3 clipping", "A"],
)
def test_cider_d_is_that_of_coco(candidates, references, found):
    assert cider_d(candidates, references) == pytest.approx(found, abs=1e-12)


def test_cider_d_by_hand():
    """'a' is in all references, so it weighs 0: of the rest 2 of 3 words, 2 of 3 pairs, 1 of 2 triples, no four."""
    assert cider_d(["a b c d", "a e f h"], B)[1] == pytest.approx(10 * (2 / 3 + 2 / 3 + 1 / 2 + 0) / 4)
    longer = (3 / sqrt(12) + 3 / sqrt(12) + 2 / sqrt(6) + 1 / sqrt(2)) / 4 * exp(-1 / 72)
    assert cider_d(["a b c d e", "a e f g"], B)[0] == pytest.approx(10 * longer)


def test_case_and_punctuation_do_not_count():
    assert cider_d(["A b, c d.", "a e f g!"], B) == pytest.approx([10.0, 10.0])


def test_one_image_has_no_cider_d_and_does_not_get_the_0_of_coco_s_code():
    assert np.isnan(cider_d(["a b c d"], [["a b c d"]])).all()
    assert np.isnan(cider_d(["a b", "c"], [["a b"], []])).all(), "one image with references is one image"
    frequencies = document_frequencies(B)
    assert cider_d(["a b c d"], [["a b c d"]], frequencies) == pytest.approx([10.0]), "with a set's, it has"


def test_an_image_without_references_is_undefined_and_moves_no_other():
    whole = cider_d(A_CANDIDATES, A_REFERENCES)
    more = cider_d([A_CANDIDATES[0], "x", *A_CANDIDATES[1:]], [A_REFERENCES[0], [], *A_REFERENCES[1:]])
    assert np.isnan(more[1])
    assert more[[0, 2, 3]] == pytest.approx(whole)


def test_frequencies_count_images_not_references():
    frequencies = document_frequencies(A_REFERENCES)
    assert frequencies.images == 3
    assert frequencies.counts["red",] == 1, "two references of one image"
    assert frequencies.weight(("a",)) == pytest.approx(log(3) - log(2))
    assert frequencies.weight(("never", "said")) == pytest.approx(log(3))


def test_frequencies_are_those_of_the_set_not_of_the_part_scored():
    whole = cider_d(A_CANDIDATES, A_REFERENCES)
    part = cider_d(A_CANDIDATES[:2], A_REFERENCES[:2], document_frequencies(A_REFERENCES))
    assert part == pytest.approx(whole[:2], abs=0)
    assert cider_d(A_CANDIDATES[:2], A_REFERENCES[:2])[0] != pytest.approx(whole[0])


def test_images_may_come_in_any_order():
    forth = cider_d(A_CANDIDATES, A_REFERENCES)
    back = cider_d(A_CANDIDATES[::-1], A_REFERENCES[::-1])
    assert back[::-1] == pytest.approx(forth, abs=1e-12)


@pytest.mark.parametrize("score", [cider_d, rouge_l])
def test_empty_captions_score_nothing_and_stay_in_range(score):
    assert score(["", "...", "a e f g"], [*B, ["", "a"]])[:2] == pytest.approx([0, 0])


def test_rouge_l_is_that_of_coco():
    assert rouge_l(A_CANDIDATES, A_REFERENCES) == pytest.approx([1.0, 1.0, 0.5570776255707762], abs=1e-12)
    assert np.isnan(rouge_l(["a"], [[]])).all()


def test_rouge_l_takes_words_in_order_but_not_in_a_row():
    # Of 'a b c d' and 'a x c d b' the longest is 'a c d': precision 3/5, recall 3/4.
    assert rouge_l(["a x c d b"], [["a b c d"]])[0] == pytest.approx(2.44 * 0.6 * 0.75 / (0.75 + 1.44 * 0.6))


def test_bleu_is_that_of_coco():
    sums = bleu_counts(A_CANDIDATES, A_REFERENCES).sum(axis=0)
    found = [float(bleu(sums, n)) for n in (1, 2, 3, 4)]
    # Its own epsilons make the last digits.
    assert found == pytest.approx([0.827341, 0.786002, 0.788741, 0.780535], abs=1e-5)


def test_bleu_punishes_brevity_and_nothing_smooths_it():
    assert float(bleu(bleu_counts(["a b c d"], [["a b c d e"]])[0])) == pytest.approx(0.7788007831, abs=1e-10)
    longer, other = bleu_counts(["a b c d e", "f g h i"], [["a b c d", "f g h i"], ["a b c d", "a b c d e"]])
    assert float(bleu(longer)) == pytest.approx(0.2**0.25)
    assert float(bleu(other)) == 0
    assert np.isnan(bleu(bleu_counts(["a b c"], [["a b c"]])[0])), "three words make no run of four"


def test_of_two_references_as_close_the_shorter_counts():
    assert bleu_counts(["a b c"], [["a b c d", "a b"]])[0, -1] == 2


def test_bleu_of_an_image_without_references_is_left_to_the_caller():
    assert np.isnan(bleu_counts(["a", "b"], [["a"], []])).any(axis=1).tolist() == [False, True]
    assert bleu_counts([], []).shape == (0, 10)


@pytest.mark.parametrize("score", [cider_d, rouge_l, bleu_counts])
def test_captions_and_images_must_be_as_many(score):
    with pytest.raises(UserError, match="1 captions, 2 images"):
        score(["a"], B)


def test_nothing_is_undefined_by_surprise():
    """A random corpus stays in range, and only images without references are nan."""
    draws = np.random.Generator(np.random.Philox(key=3))
    texts = [" ".join("abcdefgh"[i] for i in draws.integers(0, 8, size=draws.integers(1, 9))) for _ in range(240)]
    references = [texts[60 + 3 * i : 60 + 3 * i + i % 4] for i in range(60)]
    for score, high in ((cider_d, 10), (rouge_l, 1)):
        found = score(texts[:60], references)
        assert np.isnan(found).tolist() == [not of for of in references]
        assert np.nanmin(found) >= 0 and np.nanmax(found) <= high
