"""captioners/metrics/vendi.py: frozen scores, and a partition that stays in its bounds."""

from itertools import combinations

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.hashed import Batch
from captioners.metrics.kernels import cosine_kernel
from captioners.metrics.rarefaction import subsets
from captioners.metrics.vendi import partition, vendi, vendi_of_some
from tests.metrics.oracle import T5


@pytest.mark.parametrize(
    ("kernel", "score"),
    [
        ([[1, 0.5], [0.5, 1]], 1.7547653506),
        (np.eye(3), 3),
        (np.ones((3, 3)), 1),
        ([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]], 2.1573004834),
    ],
)
def test_scores_are_the_frozen_ones(kernel, score):
    assert vendi(np.array(kernel, dtype=float)) == pytest.approx(score, abs=1e-9)


def test_the_five_captions_are_as_vendi_score_has_them():
    assert vendi(cosine_kernel(Batch.of([T5]))) == pytest.approx([2.0204279954], abs=1e-9)


def test_of_fewer_captions_it_is_the_mean_over_choices():
    batch = Batch.of([T5, ["a", "b", "a", "c", "d"]])
    kernels = cosine_kernel(batch)
    found = vendi_of_some(kernels, subsets(batch, 3))
    for place in range(2):
        wanted = [vendi(kernels[place][np.ix_(some, some)]) for some in combinations(range(5), 3)]
        assert found[place] == pytest.approx(np.mean(wanted))


def test_the_partition_of_toys():
    batch = Batch.of([["x y", "x y", "z w", "z w"], ["x y"] * 4, ["a", "b", "c", "d"], ["a", "b", "a", "b"]])
    found = partition(cosine_kernel(batch), [2, 2])
    assert found.alpha == pytest.approx([1, 1, 2, 2])
    assert found.beta == pytest.approx([2, 1, 2, 1])
    assert found.gamma == pytest.approx([2, 1, 4, 2])
    alone = partition(cosine_kernel(batch), [1, 1, 1, 1])
    assert alone.alpha == pytest.approx(np.ones(4)), "of captioners with one caption, beta is the score of all"
    assert alone.beta == pytest.approx(vendi(cosine_kernel(batch)))


@pytest.mark.parametrize("counts", [[2, 2, 2], [1, 5], [1, 2, 3]])
def test_beta_stays_between_one_and_the_captioners_in_effect(counts):
    """At most exp of the entropy of their shares, for any kernel; alpha never exceeds gamma."""
    draws = np.random.Generator(np.random.Philox(key=1))
    vectors = draws.normal(size=(200, 6, 4))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    found = partition(vectors @ vectors.transpose(0, 2, 1), counts)
    shares = np.array(counts) / 6
    assert found.beta.min() >= 1 - 1e-9
    assert found.beta.max() <= np.exp(-(shares * np.log(shares)).sum()) + 1e-9


def test_counts_must_be_the_kernel_s():
    with pytest.raises(UserError, match="kernel of 3 captions has not 2 \\+ 2"):
        partition(np.eye(3)[None], [2, 2])
