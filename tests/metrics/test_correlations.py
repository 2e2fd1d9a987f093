"""Rank correlations against scipy, and what is said of few arms."""

from math import isnan, tanh

import numpy as np
import pytest
from scipy import stats

from captioners.metrics.correlations import correlations


def sides(count, seed=0):
    drawn = np.random.Generator(np.random.PCG64(seed)).normal(size=(2, count))
    arms = [f"arm {at}" for at in range(count)]
    return dict(zip(arms, drawn[0], strict=True)), dict(zip(arms, drawn[0] + drawn[1], strict=True))


def test_it_is_spearmans_also_with_ties():
    one, other = sides(9)
    other["arm 3"] = other["arm 4"]
    (found,) = correlations({"Div-2": one}, {"average": other})
    wanted = stats.spearmanr(list(one.values()), list(other.values())).statistic
    assert found.spearman == pytest.approx(wanted) and found.arms == 9
    assert found.low < found.spearman < found.high


def test_the_interval_is_fishers_with_bonett_and_wrights_error():
    # By hand: ranks 1 2 3 4 5 against 2 1 3 5 4, d2 = 4, r = 0.8; error sqrt((1 + 0.32) / 2) = 0.812404.
    (found,) = correlations(
        {"m": dict(zip("abcde", (1, 2, 3, 4, 5), strict=True))}, {"o": dict(zip("abcde", (2, 1, 3, 5, 4), strict=True))}
    )
    assert found.spearman == pytest.approx(0.8)
    assert (found.low, found.high) == pytest.approx(
        (tanh(1.0986123 - 1.959964 * 0.812404), tanh(1.0986123 + 1.959964 * 0.812404)), abs=1e-5
    )


def test_a_perfect_order_of_few_arms_is_not_certain():
    (up,) = correlations(
        {"m": dict(zip("abcdef", range(6), strict=True))}, {"o": dict(zip("abcdef", range(6), strict=True))}
    )
    assert up.spearman == 1.0 and up.high == 1.0 and up.low < 0.9
    (down,) = correlations(
        {"m": dict(zip("abcdef", range(6), strict=True))}, {"o": dict(zip("abcdef", range(0, -6, -1), strict=True))}
    )
    assert (down.spearman, down.low, down.high) == pytest.approx((-1.0, -1.0, -up.low))


def test_what_is_not_defined_is_null():
    one, other = {"a": 1.0, "b": 2.0, "c": 3.0, "d": float("nan")}, {"a": 2.0, "b": 1.0, "c": 3.0, "d": 1.0, "e": 0.0}
    (found,) = correlations({"m": one}, {"o": other})
    assert found.arms == 3 and found.spearman == pytest.approx(0.5)
    assert isnan(found.low) and found.as_json()["low"] is None
    flat = correlations({"m": dict.fromkeys("abcd", 1.0)}, {"o": other})[0]
    assert isnan(flat.spearman) and flat.as_json()["spearman"] is None
    assert len(correlations({"m": one, "n": one}, {"o": other, "p": other})) == 4
