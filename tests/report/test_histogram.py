"""captioners/report/histogram.py: sums, shared scales, and what a reader hears."""

import pytest

from captioners.report.histogram import histograms


def test_bars_are_shares_on_one_scale_for_all_members():
    few, many = histograms([{3: 1, 5: 1}, {3: 100, 4: 200, 9: 100}])
    assert few.bars[0].x == many.bars[0].x
    # Half of the few and half of the many have one length: the tallest bars, of the same height.
    assert {bar.height for bar in few.bars} == {72.0}
    assert [bar.height for bar in many.bars] == [36.0, 72.0, 36.0]
    assert many.bars[1].label == "4 tokens: 200 captions (50.0%)"
    assert few.bars[0].label == "3 tokens: 1 caption (50.0%)"


def test_mean_and_spread_are_those_of_the_lengths():
    (drawn,) = histograms([{7: 4, 9: 1}])
    assert (drawn.mean, drawn.spread, drawn.longest, drawn.count) == (pytest.approx(7.4), pytest.approx(0.8), 9, 5)
    assert drawn.words == "5 captions of 7.4 ± 0.8 tokens, the longest 9"


@pytest.mark.parametrize(("longest", "span"), [(23, "23"), (24, "24–25"), (253, "240–259"), (5000, "5000–5499")])
def test_long_captions_share_bars_and_none_is_lost(longest, span):
    (drawn,) = histograms([{0: 1, longest: 2}])
    assert drawn.bars[-1].label.startswith(f"{span} tokens: 2 captions")
    assert len(drawn.bars) == 2
    assert all(bar.x >= 0 and bar.x + bar.width <= 288 for bar in drawn.bars)


def test_members_without_captions_draw_nothing():
    empty, _ = histograms([{}, {3: 1}])
    assert (empty.bars, empty.words) == ((), "no captions")
    assert histograms([{}])[0].bars == ()
