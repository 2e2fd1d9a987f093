"""captioners/metrics/preference.py: ties, voters and intervals, against scipy's and by hand."""

from math import isnan

import pytest
from scipy import stats

from captioners.metrics.paired import FEWEST
from captioners.metrics.preference import preference, wilson


def test_votes_make_a_share_where_a_tie_counts_half():
    found = preference({"1": ["after"], "2": ["after", "before"], "3": ["tie"], "4": [], "5": ["before"]})
    assert (found.after, found.before, found.tie, found.images) == (2, 2, 1, 4)
    assert found.share == pytest.approx((1 + 0.5 + 0.5 + 0) / 4)
    assert found.verdict == "CAN'T TELL"
    assert preference({}).images == 0 and isnan(preference({}).share)


@pytest.mark.parametrize(("choice", "verdict"), [("after", "YES"), ("before", "NO"), ("tie", "CAN'T TELL")])
def test_votes_that_agree_decide_and_are_not_certain(choice, verdict):
    found = preference({str(k): [choice] for k in range(20)})
    assert found.verdict == verdict
    assert found.high - found.low > 0.1, "twenty votes are no certainty"
    assert preference({str(k): [choice] for k in range(FEWEST - 1)}).verdict == "CAN'T TELL"


def test_many_voters_on_one_image_are_one_observation():
    alone = preference({str(k): ["after"] for k in range(10)})
    crowd = preference({str(k): ["after"] * 50 for k in range(10)})
    assert (crowd.low, crowd.high) == (alone.low, alone.high)
    assert crowd.after == 500


@pytest.mark.parametrize(("successes", "count"), [(0, 10), (7, 10), (50, 100), (10, 10)])
def test_wilson_is_scipy_s(successes, count):
    ends = stats.binomtest(successes, count).proportion_ci(method="wilson")
    assert wilson(successes / count, count) == (pytest.approx(ends.low), pytest.approx(ends.high))
