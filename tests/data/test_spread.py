"""The order of shards: a permutation whose every beginning is an even sample, whatever period the shards have."""

import pytest

from captioners.data.spread import spread


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100, 1000])
def test_it_is_a_permutation_that_begins_with_the_first(count):
    found = spread(range(count))
    assert sorted(found) == list(range(count)) and found[:1] == list(range(count))[:1]


def gaps(taken, count):
    """Distances between neighbours on a ring of `count`."""
    places = sorted(taken)
    return [after - before for before, after in zip(places, [*places[1:], places[0] + count], strict=True)]


@pytest.mark.parametrize("taken", [5, 20, 100, 333])
def test_after_any_number_of_shards_no_stretch_is_left_out(taken):
    count = 1000
    assert max(gaps(spread(range(count))[:taken], count)) <= 4 * count / taken
    assert max(gaps(range(taken), count)) > 4 * count / taken, "the listed order fails it"


def test_shards_that_alternate_come_in_their_shares():
    for period in (2, 3, 7, 10):
        for taken in (50, 200, 480):
            share = sum(place % period == 0 for place in spread(range(960))[:taken]) / taken
            assert share == pytest.approx(1 / period, abs=3 / taken), (period, taken)
    bits = sorted(range(1024), key=lambda place: int(f"{place:010b}"[::-1], 2))
    assert all(place % 2 == 0 for place in bits[:512]), "what the bit-reversed order does with a period of two"
