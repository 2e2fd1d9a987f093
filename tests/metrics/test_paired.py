"""captioners/metrics/paired.py: against the plain bootstrap, Student's t, exact cases, and how often it is wrong."""

from math import isnan, nan

import numpy as np
import pytest
from scipy import stats

from captioners.core.errors import UserError
from captioners.metrics.intervals import paired_difference
from captioners.metrics.metric import Metric
from captioners.metrics.paired import FEWEST, _student, difference, difference_of_sums
from captioners.metrics.references import BLEU_4, bleu, bleu_counts

UP = Metric(name="up", unit="score", better="higher", source="test")
DOWN = Metric(name="down", unit="score", better="lower", source="test")


def numbers(count, seed=0):
    return np.random.Generator(np.random.PCG64(seed)).normal(size=count)


def test_it_is_the_plain_paired_bootstrap_for_many_images():
    before, after = numbers(900), numbers(900, 1) * 0.5 + 0.1
    found = difference(UP, before, after, resamples=4000)
    plain = paired_difference((after, np.ones(900)), (before, np.ones(900)), resamples=4000)
    assert found.change == pytest.approx(plain.value, abs=1e-12)
    assert (found.low, found.high) == (pytest.approx(plain.low, abs=0.004), pytest.approx(plain.high, abs=0.004))


def test_few_images_get_the_interval_of_student():
    before, after = numbers(12), numbers(12, 1)
    found = difference(UP, before, after, resamples=20_000)
    change = after - before
    half = stats.t.ppf(0.975, 11) * change.std(ddof=1) / np.sqrt(12)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)
    plain = paired_difference((after, np.ones(12)), (before, np.ones(12)), resamples=20_000)
    assert (plain.high - plain.low) / 2 < 0.9 * half, "the negative control: plain percentiles are too short"


@pytest.mark.parametrize("freedom", [4, 7, 30, 1000])
def test_student_s_t(freedom):
    assert _student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=0.02 if freedom < 7 else 0.001)


def test_without_a_difference_it_says_so_nineteen_times_in_twenty():
    """YES and NO are wrong here; 300 sets of 15 images. Binomial(300, 0.05) is 27 or more once in 1,000 times."""
    verdicts = [difference(UP, numbers(15, 2 * k), numbers(15, 2 * k + 1), resamples=400).verdict for k in range(300)]
    assert sum(verdict != "CAN'T TELL" for verdict in verdicts) < 27
    found = [difference(UP, numbers(15, 2 * k), numbers(15, 2 * k + 1) + 2, resamples=400).verdict for k in range(20)]
    assert found == ["YES"] * 20, "the negative control: a difference of two deviations is found"


@pytest.mark.parametrize(("shift", "up", "down"), [(1.0, "YES", "NO"), (-1.0, "NO", "YES")])
def test_the_verdict_knows_which_way_is_better(shift, up, down):
    before = numbers(40)
    after = before + shift + 0.1 * numbers(40, 1)
    assert (difference(UP, before, after).verdict, difference(DOWN, before, after).verdict) == (up, down)
    neither = Metric(name="length", unit="words", better="neither", source="test")
    assert difference(neither, before, after).verdict == "CAN'T TELL"


def test_the_same_captions_did_not_get_better():
    before = numbers(40)
    found = difference(UP, before, before)
    assert (found.low, found.high, found.verdict) == (0, 0, "NO")


def test_too_few_images_cannot_tell_however_large_the_difference():
    count = FEWEST - 1
    found = difference(UP, np.zeros(count), np.ones(count) + 0.1 * numbers(count))
    assert found.low > 0
    assert found.verdict == "CAN'T TELL"
    one = difference(UP, [0.0], [1.0])
    assert (one.change, isnan(one.low), one.verdict) == (1.0, True, "CAN'T TELL")


def test_images_undefined_on_either_side_are_left_out_of_both():
    before, after = numbers(50), numbers(50, 1)
    holes = before.copy(), after.copy()
    holes[0][3], holes[1][7] = nan, nan
    keep = [k for k in range(50) if k not in (3, 7)]
    found = difference(UP, *holes)
    assert found.images == 48
    assert found == difference(UP, before[keep], after[keep])
    nothing = difference(UP, [nan, 1.0], [1.0, nan])
    assert (nothing.images, isnan(nothing.before), nothing.verdict) == (0, True, "CAN'T TELL")
    assert nothing.as_json()["before"] is None


def test_the_same_seed_gives_the_same_interval_and_another_another():
    before, after = numbers(30), numbers(30, 1)
    assert difference(UP, before, after) == difference(UP, before, after)
    assert difference(UP, before, after, seed=1).low != difference(UP, before, after).low


def test_both_sides_must_have_the_same_images():
    with pytest.raises(UserError, match="not 3 and 4"):
        difference(UP, np.zeros(3), np.zeros(4))


def test_corpus_bleu_is_compared_by_its_sums_not_by_a_mean_of_images():
    references = [["a b c d e"]] * 20 + [["f g h i j k l m"]] * 20
    before = ["a b c d x"] * 20 + ["f g h"] * 20
    after = ["a b c d e"] * 20 + ["f g h i j k l m"] * 20
    found = difference_of_sums(BLEU_4, bleu_counts(before, references), bleu_counts(after, references), bleu)
    assert found.after == 1
    assert found.before == pytest.approx(float(bleu(bleu_counts(before, references).sum(axis=0))))
    assert found.verdict == "YES"
