"""captioners/metrics/alignment.py, against the paper's formulas worked by hand, on made features."""

from math import sqrt

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.alignment import PREFIX, align, clip_score, ref_clip_score, retrieved


def at(cosine):
    """A vector of that cosine with [1, 0]; of length 2, for length must not matter."""
    return [2 * cosine, 2 * sqrt(1 - cosine**2)]


ONE = [[3.0, 0.0]]


@pytest.mark.parametrize(("cosine", "score"), [(0.3, 0.75), (-0.2, 0.0), (1.0, 2.5), (0.0, 0.0)])
def test_clip_score_is_two_and_a_half_cosines_never_below_0(cosine, score):
    assert clip_score(ONE, [at(cosine)]) == pytest.approx([score])


def test_ref_clip_score_is_the_harmonic_mean_with_the_best_reference():
    caption = at(0.3)
    # Cosines 0.8 and -0.5 with the caption, by turning it.
    turn = lambda by: [caption[0] * by - caption[1] * sqrt(1 - by**2), caption[1] * by + caption[0] * sqrt(1 - by**2)]  # noqa: E731
    assert ref_clip_score(ONE, [caption], [[turn(0.8), turn(-0.5)]]) == pytest.approx([0.7741935484], abs=1e-9)
    assert ref_clip_score(ONE, [caption], [[turn(-0.5)]]) == pytest.approx([0.0])
    assert ref_clip_score(ONE, [at(-0.2)], [[at(-0.2)]]) == pytest.approx([0.0])
    assert np.isnan(ref_clip_score(ONE, [caption], [[]])).all()


def test_retrieval_finds_its_own_image_among_all():
    images = np.eye(4)
    assert retrieved(images, images, 1).tolist() == [1, 1, 1, 1]
    second = images[[0, 1, 3, 3]] + 0.5 * images  # the third caption is nearer to the fourth image
    assert retrieved(images, second, 1).tolist() == [1, 1, 0, 1]
    assert retrieved(images, second, 2).tolist() == [1, 1, 1, 1]


def test_ties_count_against():
    """One caption for all images finds none, where counting ties for it would find every one."""
    images = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, -1.0]])
    same = np.tile([[1.0, 0.0, 0.0]], (3, 1))
    assert retrieved(images, same, 1).sum() == 0
    assert retrieved(images, same, 3).sum() == 3
    twins = np.array([[0.6, 0.8], [0.6, 0.8], [1.0, 0.0]])
    assert retrieved(twins, twins, 1).tolist() == [0, 0, 1]


@pytest.mark.parametrize("bad", [[[0.0, 0.0]], [[float("nan"), 1.0]], [1.0, 2.0]])
def test_features_that_say_nothing_are_refused(bad):
    with pytest.raises(UserError, match="check the scorer"):
        clip_score(bad, bad)


def test_features_must_fit_each_other():
    with pytest.raises(UserError, match="as many images as texts"):
        clip_score(np.eye(2), np.eye(3))
    with pytest.raises(UserError, match="references of each image"):
        ref_clip_score(np.eye(2), np.eye(2), [[]])
    with pytest.raises(UserError, match="k is 1 or more"):
        retrieved(np.eye(2), np.eye(2), 0)


class Letters:
    """A scorer that counts letters."""

    name = "letters"

    def __init__(self):
        self.asked = []

    def image_features(self, pictures):
        return np.array([[text.count(letter) for letter in "xyz"] for text in pictures], dtype=float)

    def text_features(self, texts):
        self.asked += texts
        return self.image_features(texts) + 1e-9


def test_align_puts_the_prefix_before_captions_and_references():
    scorer = Letters()
    found = align(scorer, scorer.image_features(["x", "yz"]), ["x", "z"], [["x", "y"], []])
    assert scorer.asked == [PREFIX + text for text in ("x", "z", "x", "y")]
    assert found.clip_score == pytest.approx([2.5, 2.5 / sqrt(2)])
    assert found.found.tolist() == [1, 1]
    assert found.ref_clip_score[0] == pytest.approx(2 * 2.5 / 3.5)
    assert np.isnan(found.ref_clip_score[1])
    assert np.isnan(align(scorer, scorer.image_features(["x"]), ["x"], [[]]).ref_clip_score[0])
