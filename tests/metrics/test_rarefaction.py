"""captioners/metrics/rarefaction.py: fewer captions, fairly chosen."""

from collections import Counter

import numpy as np
import pytest

from captioners.metrics.hashed import Batch
from captioners.metrics.rarefaction import subsets, unique_of_some
from captioners.metrics.streaming import WithinImage
from tests.metrics import oracle

IMAGES = oracle.corpus(200, 10, seed=8)


def test_all_choices_where_they_are_few():
    found = subsets(Batch.of(oracle.corpus(4, 5)), 3)
    assert sorted(tuple(chosen[2]) for chosen in found) == sorted({tuple(chosen[2]) for chosen in found})
    assert len(found) == 10


def test_many_choices_are_drawn_evenly_for_each_image_by_itself():
    batch = Batch.of(IMAGES)
    found = subsets(batch, 4)
    assert len(found) == 20
    for chosen in found:
        assert chosen.shape == (200, 4)
        assert (np.diff(chosen, axis=1) > 0).all(), "no caption twice"
    times = Counter(np.concatenate([chosen.ravel() for chosen in found]).tolist())
    assert set(times) == set(range(10))
    assert max(times.values()) / min(times.values()) < 1.15
    alone = subsets(Batch.of(IMAGES[3:4]), 4)
    assert all(np.array_equal(one[3], other[0]) for one, other in zip(found, alone, strict=True))


@pytest.mark.parametrize("m", [1, 2, 4, 10])
def test_unique_captions_in_closed_form(m):
    few = [[text if k % 3 else captions[0] for k, text in enumerate(captions)] for captions in IMAGES[:6]]
    assert unique_of_some(Batch.of(few), m) == pytest.approx([oracle.rarefied(c, m, oracle.unique) for c in few])


def test_a_sample_of_choices_comes_near_all_of_them():
    found = WithinImage(4, names=["Div-1"]).values(IMAGES)
    (values,) = found.values()
    wanted = np.array([oracle.rarefied(captions, 4, lambda c: oracle.div_n(c, 1)) for captions in IMAGES[:30]])
    assert abs((values[:30] - wanted).mean()) < 0.005


def test_ten_captions_of_a_captioner_look_as_diverse_as_five_once_rarefied():
    """Without it, ten would look less diverse, though they are of one process."""
    five = oracle.corpus(600, 5, seed=3, letters=12)
    ten = [[*one, *other] for one, other in zip(five[:300], five[300:], strict=True)]
    name = ["Div-1"]
    (rare,), (plain,), (of_ten,) = (
        WithinImage(m, names=name).values(images).values() for m, images in ((5, ten), (5, five), (10, ten))
    )
    assert rare.mean() == pytest.approx(plain.mean(), abs=0.02)
    assert of_ten.mean() < plain.mean() - 0.1
