"""captioners/metrics/diversity.py, against numbers worked by hand and frozen from trusted implementations."""

from collections import Counter
from math import isnan

import pytest

from captioners.core.errors import UserError
from captioners.metrics.diversity import (
    METRICS,
    distinct_n,
    div_n,
    diversity,
    length_spread,
    mean_length,
    unique_share,
)
from captioners.metrics.tokens import words

T5 = [
    "a red circle above a blue square",
    "a red circle over a blue square",
    "a blue square below a red circle",
    "the red circle is on top of the square",
    "a red circle above a blue square",
]
"""37 words, 32 bigrams, of them 13 and 17 different, counted by hand."""


def split(captions):
    return [words(caption) for caption in captions]


def test_the_five_captions_worked_by_hand():
    five = split(T5)
    assert div_n(five, 1) == pytest.approx(13 / 37, abs=1e-12)
    assert div_n(five, 2) == pytest.approx(17 / 37, abs=1e-12)  # words below, not bigrams
    assert distinct_n(five, 2) == pytest.approx(17 / 32, abs=1e-12)
    assert unique_share(five) == 4 / 5
    assert mean_length(five) == pytest.approx(7.4)
    assert length_spread(five) == pytest.approx(0.8)


def test_a_brute_count_agrees_on_captions_of_every_length():
    captions = [T5[0][: 3 * n] for n in range(12)]
    tokens = [[word for word in caption.replace(".", " ").split() if word] for caption in captions]
    for n in (1, 2, 3):
        grams = Counter(" ".join(t[i : i + n]) for t in tokens for i in range(len(t)) if i + n <= len(t))
        assert div_n(split(captions), n) == pytest.approx(len(grams) / sum(map(len, tokens)))
        assert distinct_n(split(captions), n) == pytest.approx(len(grams) / sum(grams.values()))


def test_copies_are_the_least_diverse_and_order_does_not_matter():
    copies, other = split([T5[0]] * 5), split(T5)
    assert unique_share(copies) == 1 / 5
    assert div_n(copies, 1) < div_n(other, 1)
    assert length_spread(copies) == 0
    assert [div_n(other[::-1], n) for n in (1, 2)] == [div_n(other, n) for n in (1, 2)]


def test_captions_without_a_word_are_undefined_not_zero():
    assert isnan(div_n(split(["...", ""]), 1))
    assert isnan(distinct_n(split(["one", "two"]), 2))
    assert isnan(mean_length([]))
    assert isnan(length_spread([]))
    assert unique_share(split(["...", "!"])) == 1 / 2


def test_every_image_gets_a_value_of_every_metric_in_its_range():
    found = diversity([T5, ["a b", "c d", "e", "...", ""], [""] * 5])
    assert found.keys() == METRICS.keys()
    assert all(len(values) == 3 for values in found.values())
    by_name = {metric.name: values for metric, values in found.items()}
    assert by_name["Div-1"][1] == 1.0
    assert isnan(by_name["Div-1"][2])


def test_unequal_numbers_of_captions_are_refused():
    with pytest.raises(UserError, match="equal number of captions an image, and these have 2 to 5"):
        diversity([T5, T5[:2]])
