"""Contrasts against scipy, against brute force, and against numbers worked by hand."""

from dataclasses import replace
from itertools import product
from math import isnan, nan

import numpy as np
import pytest
from scipy import stats

from captioners.core.errors import UserError
from captioners.metrics.contrasts import (
    Declared,
    Result,
    contrasts,
    equivalence,
    holm,
    sign_flip,
    t_interval,
)


def numbers(count, seed=0, shift=0.0):
    return np.random.Generator(np.random.PCG64(seed)).normal(shift, 1.0, count)


def results(values, task="average", distillation=0.0):
    """Results of arms -> one value a seed."""
    return [
        Result(arm=arm, seed=seed, task=task, value=float(value), distillation=distillation)
        for arm, of_arm in values.items()
        for seed, value in enumerate(of_arm)
    ]


def brute_force(differences):
    """Every sign change, one by one."""
    observed = abs(np.sum(differences))
    sums = [abs(np.dot(signs, differences)) for signs in product((1, -1), repeat=len(differences))]
    return np.mean([total >= observed - 1e-9 for total in sums])


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 10])
@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_the_sign_flip_test_is_the_share_of_all_sign_changes(count, shift):
    for seed in range(5):
        differences = numbers(count, seed, shift)
        assert sign_flip(differences) == brute_force(differences)


def test_the_sign_flip_test_agrees_with_scipys_and_takes_many_seeds():
    differences = numbers(8, 3, 0.7)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(differences) == pytest.approx(theirs.pvalue)
    many = numbers(30, 1, 0.35)
    assert sign_flip(many) == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.01)
    with pytest.raises(UserError, match="41 seeds; it enumerates at most 40"):
        sign_flip(np.ones(41))


def test_the_least_p_that_so_many_seeds_can_give():
    assert [sign_flip(np.arange(1, n + 1)) for n in (5, 6, 8)] == [2 / 2**5, 2 / 2**6, 2 / 2**8]
    assert sign_flip([0.0] * 6) == 1.0
    assert sign_flip([0.1] * 6) == 2 / 2**6, "ties of rounding count as ties"
    assert sign_flip([1, -1, 1, -1, 1, -1]) == 1.0


def test_the_interval_is_students():
    differences = numbers(6, 4)
    theirs = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert t_interval(differences) == pytest.approx((theirs.low, theirs.high))
    # By hand: mean 2, sd 1, t(0.975, 2) = 4.302653.
    assert t_interval([1, 2, 3]) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert all(map(isnan, t_interval([1.0])))


def test_equivalence_is_the_larger_of_two_one_sided_t_tests():
    for seed in range(5):
        differences = numbers(7, seed, 0.1)
        below = stats.ttest_1samp(differences, -0.5, alternative="greater").pvalue
        above = stats.ttest_1samp(differences, 0.5, alternative="less").pvalue
        assert equivalence(differences, 0.5) == pytest.approx(max(below, above))
    assert equivalence([0.0] * 6, 0.02) == 0.0
    assert equivalence([0.3] * 6, 0.02) == 1.0
    assert isnan(equivalence([0.1], 0.02))


def test_holm_against_the_worked_example_and_its_bounds():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    p_values = np.random.Generator(np.random.PCG64(0)).uniform(0, 0.2, 9)
    found = np.array(holm(p_values))
    assert (found >= p_values).all() and (found <= np.minimum(1, 9 * p_values) + 1e-15).all(), "Bonferroni is the bound"
    assert found[np.argmin(p_values)] == pytest.approx(min(1, 9 * p_values.min()))


BETTER = {"a": [0.60, 0.61, 0.62, 0.60, 0.63, 0.61], "b": [0.50, 0.52, 0.51, 0.49, 0.52, 0.50]}


def test_a_clear_difference_is_one_and_seeds_are_paired():
    (one,) = contrasts(results(BETTER), Declared(primary="average", contrasts=(("a", "b"),)))
    assert one.verdict == "higher" and one.primary
    assert one.difference == pytest.approx(np.mean(np.subtract(BETTER["a"], BETTER["b"])))
    assert (one.p, one.p_holm, one.p_least) == (1 / 32, 1 / 32, 1 / 32)
    (back,) = contrasts(results(BETTER), Declared(primary="average", contrasts=(("b", "a"),)))
    assert back.verdict == "lower" and back.difference == -one.difference
    hard = numbers(6, 0) * 5
    paired = {"a": hard + 1.0, "b": hard + np.array([0.0, 0.1, 0.0, 0.2, 0.1, 0.0])}
    (one,) = contrasts(results(paired), Declared(primary="average", contrasts=(("a", "b"),)))
    assert one.high - one.low < 0.3 < np.std(hard), "what is hard for both cancels out"


def test_under_six_seeds_there_is_an_interval_and_no_p_value():
    fewer = {arm: values[:5] for arm, values in BETTER.items()}
    (one,) = contrasts(results(fewer), Declared(primary="average", contrasts=(("a", "b"),)))
    assert (one.p, one.p_holm, one.p_least, one.p_same) == (None,) * 4
    assert one.low > 0 and one.verdict == "can't tell"
    (single,) = contrasts(results({arm: [0.5] for arm in "ab"}), Declared(primary="average", contrasts=(("a", "b"),)))
    assert isnan(single.low) and single.as_json()["low"] is None


def test_what_was_declared_is_corrected_for_together_with_every_weight_and_nothing_else():
    three = {**BETTER, "c": [0.55, 0.56, 0.57, 0.55, 0.57, 0.56]}
    found = [*results(three), *results(three, distillation=1.0), *results(three, "other")]
    declared = Declared(primary="average", contrasts=(("a", "b"), ("c", "b")))
    table = contrasts(found, declared)
    primary = [one for one in table if one.primary]
    assert [(one.distillation, one.arm) for one in primary] == [(0.0, "a"), (0.0, "c"), (1.0, "a"), (1.0, "c")]
    assert {one.p_holm for one in primary} == {4 / 32} and {one.p_least for one in primary} == {4 / 32}
    assert all(one.verdict == "can't tell" for one in primary), "6 seeds cannot bear 4 contrasts, and it says so"
    other = [one for one in table if one.task == "other"]
    assert len(other) == 2 and {one.p_holm for one in other} == {4 / 32}, (
        "also for what is measured at one weight alone"
    )
    assert table[: len(primary)] == primary


def test_a_contrast_whose_arm_failed_is_corrected_for_like_the_others():
    """The oracle: Holm over three p-values by hand, two of them 1."""
    declared = Declared(primary="average", contrasts=(("a", "b"), ("c", "b"), ("d", "c")), arms=("a", "b", "c", "d"))
    found = contrasts(results(BETTER), declared)
    assert [(one.arm, len(one.seeds), one.p_holm) for one in found] == [
        ("a", 6, 3 / 32),
        ("c", 0, None),
        ("d", 0, None),
    ]
    assert found[0].verdict == "can't tell" and found[0].p_least == 3 / 32
    weights = Declared(primary="average", contrasts=(("a", "b"),), weights=(0.0, 1.0))
    assert contrasts(results(BETTER), weights)[0].p_holm == 2 / 32, "a weight that is still to come counts, too"


def test_no_difference_is_a_finding_of_its_own():
    same = {"a": [0.500, 0.501, 0.499, 0.500, 0.502, 0.498], "b": [0.501, 0.500, 0.500, 0.499, 0.501, 0.500]}
    (one,) = contrasts(results(same), Declared(primary="average", contrasts=(("a", "b"),), margin=0.02))
    assert one.verdict == "no difference" and one.p_same < 0.001 and one.low < 0 < one.high
    noisy = {"a": numbers(6, 1), "b": numbers(6, 2)}
    (other,) = contrasts(results(noisy), Declared(primary="average", contrasts=(("a", "b"),), margin=0.02))
    assert other.verdict == "can't tell" and other.low < 0 < other.high, "an interval with 0 in it is no evidence"


def test_seeds_that_only_one_arm_has_are_left_out_and_named():
    values = {"a": BETTER["a"][:4], "b": BETTER["b"]}
    (one,) = contrasts(results(values), Declared(primary="average", contrasts=(("a", "b"),)))
    assert one.seeds == (0, 1, 2, 3) and one.missing == (4, 5)
    (one,) = contrasts(results(BETTER), Declared(primary="average", contrasts=(("a", "b"),), seeds=(1, 3)))
    assert one.seeds == (1, 3) and one.missing == ()
    (one,) = contrasts(
        [*results(BETTER), Result(arm="c", seed=0, task="other", value=1.0, distillation=0.0)],
        Declared(primary="average", contrasts=(("c", "b"),)),
    )
    assert one.seeds == () and isnan(one.difference) and one.verdict == "can't tell"


def test_mistakes_are_said():
    twice = [*results(BETTER), Result(arm="a", seed=0, task="average", value=0.7, distillation=0.0)]
    with pytest.raises(UserError, match=r"seed 0 of arm a has two numbers for average: 0\.6 and 0\.7"):
        contrasts(twice, Declared(primary="average"))
    with pytest.raises(UserError, match="no result is of an arm 'd'; there are a, b"):
        contrasts(results(BETTER), Declared(primary="average", contrasts=(("a", "d"),)))


def test_the_order_of_results_changes_nothing():
    declared = Declared(primary="average", contrasts=(("a", "b"),))
    assert contrasts(results(BETTER)[::-1], declared) == contrasts(results(BETTER), declared)


def test_it_is_json(tmp_path):
    (one,) = contrasts(results(BETTER), Declared(primary="average", contrasts=(("a", "b"),)))
    said = one.as_json()
    assert said["verdict"] == "higher" and said["seeds"] == [0, 1, 2, 3, 4, 5] and said["p_holm"] == 1 / 32


def test_a_result_that_is_no_number_is_none():
    """It was held against itself, which it never equals, and ended in an internal error."""
    results = [Result(arm=arm, seed=0, task="t", value=value, distillation=0) for arm, value in
               (("a", nan), ("a", nan), ("b", 0.5), ("b", nan))]  # fmt: skip
    [found] = contrasts(results, Declared(primary="t", contrasts=(("a", "b"),)))
    assert (found.seeds, found.missing) == ((), (0,))
    with pytest.raises(UserError, match="has two numbers"):
        contrasts([*results, replace(results[2], value=0.6)], Declared(primary="t"))
