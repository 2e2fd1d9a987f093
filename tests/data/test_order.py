"""Orders of a set in memory: functions of a position; captions drawn without replacement; like lengths together."""

from collections import Counter

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.data.order import Mixing, Order, share_of


def _lengths(images=40, seed=0):
    drawn = np.random.Generator(np.random.Philox(seed))
    return [drawn.integers(3, 60, drawn.integers(1, 6)).tolist() for _ in range(images)]


@pytest.mark.parametrize("captions", ["random_per_image", "per_caption", "first"])
@pytest.mark.parametrize("grouped", [0, 6])
def test_an_epoch_takes_everything_once_and_any_position_is_found_alone(captions, grouped):
    lengths = _lengths()
    order = Order(lengths, seed=3, captions=captions, grouped=grouped)
    through = [order.at(number) for number in range(3 * len(order))]
    for epoch in range(3):
        taken = through[epoch * len(order) : (epoch + 1) * len(order)]
        assert {pick.epoch for pick in taken} == {epoch}
        if captions == "per_caption":
            every = {(image, (caption,)) for image, several in enumerate(lengths) for caption in range(len(several))}
            assert {(pick.image, pick.captions) for pick in taken} == every
        else:
            assert sorted(pick.image for pick in taken) == list(range(len(lengths)))
        assert len(taken) == len(order)
    assert [p.image for p in through[: len(order)]] != [p.image for p in through[len(order) : 2 * len(order)]]
    for number in (2 * len(order) + 5, 1, len(order) - 1, len(order)):
        assert Order(lengths, seed=3, captions=captions, grouped=grouped).at(number) == through[number]
    other = Order(lengths, seed=4, captions=captions, grouped=grouped)
    assert [other.at(number) for number in range(len(order))] != through[: len(order)]


def test_captions_of_a_step_are_drawn_without_replacement_and_equally_often():
    order = Order([[5] * 5, [5] * 2, [5]], seed=0, captions_per_step=3)
    epochs = 900
    picks = [order.at(number) for number in range(3 * epochs)]
    for image, count, taken in ((0, 5, 3), (1, 2, 2), (2, 1, 1)):
        own = [pick.captions for pick in picks if pick.image == image]
        assert all(len(several) == len(set(several)) == taken for several in own)
        if taken < count:
            counts = Counter(caption for several in own for caption in several)
            share = taken / count
            spread = 5 * (epochs * share * (1 - share)) ** 0.5
            assert set(counts) == set(range(count))
            assert all(abs(found - epochs * share) < spread for found in counts.values())
    assert len({pick.captions for pick in picks if pick.image == 0}) == 60  # 5 x 4 x 3 ways: the order is drawn, too


def test_first_with_several_a_step_takes_the_first_ones():
    order = Order([[5] * 5, [5]], seed=0, captions="first", captions_per_step=3)
    assert {order.at(number).image: order.at(number).captions for number in range(2)} == {0: (0, 1, 2), 1: (0,)}


def test_each_caption_a_sample_leaves_none_for_several_a_step():
    with pytest.raises(UserError, match="per_caption makes a sample of each caption"):
        Order([[5]], seed=0, captions="per_caption", captions_per_step=2)


@pytest.mark.parametrize("captions_per_step", [1, 2])
def test_grouped_batches_hold_captions_of_like_length(captions_per_step):
    lengths, size = _lengths(203), 8
    spread = {}
    for grouped in (0, size):
        order = Order(lengths, seed=1, grouped=grouped, captions_per_step=captions_per_step)
        picks = [order.at(number) for number in range(3 * 203 // size * size)]
        longest = np.array([max(lengths[pick.image][c] for c in pick.captions) for pick in picks]).reshape(-1, size)
        spread[grouped] = longest.max(1) - longest.mean(1)
        if grouped:
            assert len(np.unique(np.argsort(longest[:25].mean(1), kind="stable") - np.arange(25))) > 5, "permuted"
    # Batches are cut where the run cuts them, also in later epochs, whose first sample is not a batch's first; all but
    # the batch at each seam are of like length.
    assert np.median(spread[size]) < 2
    assert (spread[size] > 6).sum() <= 6
    assert np.median(spread[0]) > 8, "the control: without grouping they differ"


def test_a_mixture_keeps_its_weights_in_every_cycle():
    mixing = Mixing((4, 2, 6), 0)  # cycles of 2 + 1 + 3
    found = [mixing.at(number) for number in range(600)]
    for start in range(0, 600, 6):
        assert Counter(part for part, _ in found[start : start + 6]) == {0: 2, 1: 1, 2: 3}
    for part in range(3):
        assert [within for own, within in found if own == part] == list(range(sum(own == part for own, _ in found)))
    assert len({tuple(part for part, _ in found[start : start + 6]) for start in range(0, 600, 6)}) > 20
    for number in (599, 3, 77):
        assert Mixing((4, 2, 6), 0).at(number) == found[number]
    assert [Mixing((4, 2, 6), 1).at(number) for number in range(60)] != found[:60]
    assert [Mixing((5,), 0).at(number) for number in range(3)] == [(0, 0), (0, 1), (0, 2)]


def test_ranks_take_slices_that_make_up_the_batch():
    assert [list(share_of(6, rank, 3)) for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(UserError, match="batch_size: 7 cannot be split evenly over 2 processes"):
        share_of(7, 0, 2)
