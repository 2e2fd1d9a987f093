"""captioners/metrics/degenerate.py: shares of flags, and that the flags are those there are."""

from typing import get_args

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.degenerate import CUT, DEGENERATE, FLAGS, TRUNCATED, flag_shares
from captioners.text.flags import Flag, flags_of

SEEN = [
    "a 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2",
    "a red truck parked on the side of the road and the side of",
    "fahad 2 2 2 2 on a table with a lot of 2 2",
    "a kitchen with a stove and a window in its frame",
]
"""As longer-context captioners write: two loops, one cut, one that looks whole."""


def test_the_flags_exist():
    assert {*FLAGS, CUT} <= set(get_args(Flag))


def test_what_captioners_write_is_told_apart():
    found = flag_shares([[flags_of(text) for text in SEEN], [["foreign_script"], []], []])
    assert found[DEGENERATE][:2].tolist() == [0.5, 0]
    assert found[TRUNCATED][:2].tolist() == [0.25, 0]
    assert all(np.isnan(values[2]) for values in found.values())


def test_one_text_is_no_list_of_flags():
    with pytest.raises(UserError, match="as a list for each"):
        flag_shares([["truncated"]])
