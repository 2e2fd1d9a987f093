"""captioners/metrics/diversity.py, against numbers worked by hand, frozen ones, and plain counting."""

from math import isnan

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.diversity import (
    DIV_1,
    DIV_2,
    METRICS,
    UNIQUE,
    distinct_n,
    div_n,
    diversity,
    length_spread,
    mean_length,
    unique_share,
)
from captioners.metrics.hashed import Batch
from tests.metrics import oracle
from tests.metrics.oracle import T5


def of(*images):
    return Batch.of(images)


def test_the_five_captions_worked_by_hand():
    five = of(T5)
    assert div_n(five, 1) == pytest.approx([13 / 37], abs=1e-12)
    assert div_n(five, 2) == pytest.approx([17 / 37], abs=1e-12)  # words below, not bigrams
    assert distinct_n(five, 2) == pytest.approx([17 / 32], abs=1e-12)
    assert unique_share(five) == [4 / 5]
    assert mean_length(five) == pytest.approx([7.4])
    assert length_spread(five) == pytest.approx([0.8])


@pytest.mark.parametrize("m", [1, 2, 5])
def test_plain_counting_agrees_on_captions_of_every_length(m):
    images = oracle.corpus(60, m)
    batch = Batch.of(images)
    for n in (1, 2, 3, 4):
        assert div_n(batch, n) == pytest.approx([oracle.div_n(one, n) for one in images], nan_ok=True)
        assert distinct_n(batch, n) == pytest.approx([oracle.distinct_n(one, n) for one in images], nan_ok=True)
    assert unique_share(batch) == pytest.approx([oracle.unique(one) for one in images])
    assert mean_length(batch) == pytest.approx([oracle.length(one) for one in images])
    assert length_spread(batch) == pytest.approx([oracle.spread(one) for one in images])


def test_copies_are_the_least_diverse_and_order_does_not_matter():
    copies, other = of([T5[0]] * 5), of(T5)
    assert unique_share(copies) == 1 / 5
    assert div_n(copies, 1) < div_n(other, 1)
    assert length_spread(copies) == 0
    assert [div_n(of(T5[::-1]), n) for n in (1, 2)] == [div_n(other, n) for n in (1, 2)]


def test_captions_without_a_word_are_undefined_not_zero():
    assert np.isnan(div_n(of(["...", ""]), 1)).all()
    assert np.isnan(distinct_n(of(["one", "two"]), 2)).all()
    assert unique_share(of(["...", "!"])) == 1 / 2


def test_every_image_gets_a_value_of_every_metric_in_its_range():
    found = diversity([T5, ["a b", "c d", "e", "...", ""], [""] * 5])
    assert found.keys() == METRICS.keys()
    assert all(len(values) == 3 for values in found.values())
    assert found[DIV_1][1] == 1.0
    assert isnan(found[DIV_1][2])
    assert diversity([]) == {metric: [] for metric in METRICS}


def test_a_contradiction_is_as_diverse_as_a_paraphrase():
    """The blindness that its module warns of: by these numbers one cannot tell them apart."""
    base = "a red circle above a blue square"
    found = diversity([[base, "a blue square below a red circle"], [base, "a red circle below a blue square"]])
    for metric in (DIV_1, DIV_2, UNIQUE):
        assert found[metric][0] == found[metric][1]


def test_unequal_numbers_of_captions_are_refused():
    with pytest.raises(UserError, match="equal number of captions an image, and these have 2 to 5"):
        diversity([T5, T5[:2]])
