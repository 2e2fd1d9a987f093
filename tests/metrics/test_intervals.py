"""captioners/metrics/intervals.py: against normal theory, exact enumeration and what must cancel."""

from itertools import product
from math import isnan, nan

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.intervals import Interval, mean, paired_difference, ratio


def numbers(count, seed=0):
    return np.random.Generator(np.random.PCG64(seed)).normal(size=count)


def test_the_interval_of_a_mean_is_as_wide_as_normal_theory_says():
    values = numbers(400)
    found = mean(values, resamples=4000)
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.count == 400
    assert found.high - found.value == pytest.approx(half, rel=0.08)
    assert found.value - found.low == pytest.approx(half, rel=0.08)


def test_a_ratio_s_interval_equals_that_of_all_resamples_of_three_images():
    parts, wholes = [1.0, 0.0, 3.0], [1.0, 2.0, 3.0]
    ratios = [sum(parts[i] for i in c) / sum(wholes[i] for i in c) for c in product(range(3), repeat=3)]
    low, high = np.quantile(ratios, [0.025, 0.975], method="inverted_cdf")
    found = ratio(parts, wholes, resamples=20_000)
    assert (found.value, found.low, found.high) == (pytest.approx(4 / 6), pytest.approx(low), pytest.approx(high))


def test_a_ratio_weighs_images_by_their_whole_and_a_mean_does_not():
    assert ratio([9, 0], [9, 1]).value == 0.9
    assert mean([9 / 9, 0 / 1]).value == 0.5


def test_the_same_numbers_and_seed_give_the_same_interval_another_seed_another():
    values = numbers(50)
    assert mean(values) == mean(values)
    assert mean(values) != mean(values, seed=1)


def test_many_images_are_resampled_in_pieces_to_the_same_effect():
    values = numbers(30_000)
    found = mean(values, resamples=300)
    assert found.high - found.value == pytest.approx(1.96 / np.sqrt(30_000), rel=0.25)


def test_what_both_captioners_share_cancels_in_a_paired_difference():
    values, ones = numbers(200), np.ones(200)
    alone = mean(values)
    found = paired_difference((values + 0.1, ones), (values, ones))
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert alone.high - alone.low > 0.2  # the negative control: unpaired, the same difference would be lost


def test_an_unpaired_difference_is_as_wide_as_both():
    one, other, ones = numbers(400), numbers(400, seed=1), np.ones(400)
    found = paired_difference((one, ones), (other, ones), resamples=4000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(2 / 400), rel=0.1)


def test_paired_sides_need_the_same_images():
    with pytest.raises(UserError, match="not 2 and 3"):
        paired_difference(([1, 2], [1, 1]), ([1, 2, 3], [1, 1, 1]))


def test_undefined_images_are_left_out_of_a_mean_and_not_counted():
    assert mean([1.0, nan, 3.0]).value == 2
    assert mean([1.0, nan, 3.0]).count == 2


def test_without_images_or_wholes_nothing_is_claimed():
    for found in (mean([]), ratio([0, 0], [0, 0]), paired_difference(([0], [0]), ([1], [1]))):
        assert isnan(found.value)
        assert isnan(found.low)
    assert isnan(mean([2.0]).low)
    assert mean([2.0]).value == 2


def test_intervals_touch_at_an_end_and_undefined_ones_are_never_apart():
    assert Interval(1, 0, 2, 9).touches(Interval(3, 2, 4, 9))
    assert not Interval(1, 0, 1.9, 9).touches(Interval(3, 2, 4, 9))
    assert not Interval(3, 2, 4, 9).touches(Interval(1, 0, 1.9, 9))
    assert Interval(1, nan, nan, 1).touches(Interval(9, 8, 10, 9))
