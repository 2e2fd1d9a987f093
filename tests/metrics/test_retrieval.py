"""captioners/metrics/retrieval.py: ranks in pools of one size, and the best of m."""

from itertools import combinations

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.alignment import retrieved
from captioners.metrics.retrieval import best_of, mean_recall, retrieve, union_recall

DRAWS = np.random.Generator(np.random.Philox(key=6))
IMAGES = DRAWS.normal(size=(25, 6))
TEXTS = IMAGES[:, None] + DRAWS.normal(size=(25, 3, 6))


def test_in_one_pool_it_is_retrieval_among_all():
    found = retrieve(IMAGES, TEXTS)
    assert found.pool == 25
    for k in (1, 5):
        each = np.stack([retrieved(IMAGES, TEXTS[:, slot], k) for slot in range(3)], axis=1)
        assert found.mean(k) == pytest.approx(each.mean(axis=1))
        assert found.union(k).tolist() == each.max(axis=1).tolist()
    assert 0 < found.mean(1).mean() < found.union(1).mean()


def test_every_pool_has_its_size():
    """25 images in pools of 10: the last five look for theirs among themselves and the first five."""
    found = retrieve(IMAGES, TEXTS, pool=10)
    last = retrieve(np.concatenate([IMAGES[20:], IMAGES[:5]]), np.concatenate([TEXTS[20:], TEXTS[:5]]))
    assert np.array_equal(found.ranks[20:], last.ranks[:5])
    assert np.array_equal(found.ranks[:10], retrieve(IMAGES[:10], TEXTS[:10]).ranks)
    assert set(found.first[20:].ravel()) <= {*range(20, 25), *range(5)}
    assert found.mean(1).mean() > retrieve(IMAGES, TEXTS).mean(1).mean(), "a smaller pool is easier"


def test_ties_count_against():
    same = np.ones((4, 2))
    found = retrieve(same, np.ones((4, 1, 2)))
    assert found.ranks.ravel().tolist() == [4] * 4
    assert found.union(3).sum() == 0


def test_names_say_the_pool():
    assert mean_recall(1, 1000).name == "self-retrieval R@1 of 1000"
    assert "best 5 of 1,000" in union_recall(5, 1000).source


def test_features_must_fit():
    with pytest.raises(UserError, match="as many images as texts"):
        retrieve(IMAGES, TEXTS[:3])


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_the_best_of_m_is_the_mean_over_all_choices(m):
    scores = DRAWS.normal(size=(8, 5))
    wanted = [np.mean([max(some) for some in combinations(row, m)]) for row in scores]
    assert best_of(scores, m) == pytest.approx(wanted)


def test_the_best_of_too_many_is_refused():
    with pytest.raises(UserError, match="best of 4 captions: an image has 3"):
        best_of(np.ones((2, 3)), 4)
