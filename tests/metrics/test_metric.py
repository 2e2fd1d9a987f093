"""captioners/metrics/metric.py: the facts of a metric, and its range."""

from math import isnan, nan

import pytest

from captioners.core.errors import CaptionersError
from captioners.metrics.metric import Metric

SHARE = Metric(name="share", unit="share", high=1, better="higher", source="here")


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, 1.0 + 1e-15])
def test_a_value_in_range_passes_unchanged(value):
    assert SHARE.checked(value) == value


def test_undefined_is_no_mistake():
    assert isnan(SHARE.checked(nan))


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_value_outside_the_range_is_a_bug_and_says_whose(value):
    with pytest.raises(CaptionersError, match="metric share gave"):
        SHARE.checked(value)
