"""captioners/metrics/embedded.py: distances against every pair by itself."""

from itertools import combinations

import numpy as np
import pytest

from captioners.core.errors import CaptionersError, UserError
from captioners.metrics.embedded import RandomDistance, distance, vendi_of_vectors

DRAWS = np.random.Generator(np.random.Philox(key=4))
VECTORS = DRAWS.normal(size=(30, 4, 8)) + 1


def apart(one, other):
    return 1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other)


def test_the_distance_is_the_mean_over_pairs():
    wanted = [np.mean([apart(a, b) for a, b in combinations(image, 2)]) for image in VECTORS]
    assert distance(VECTORS) == pytest.approx(wanted)
    assert distance(VECTORS * 7) == pytest.approx(wanted), "whatever their length"
    assert np.isnan(distance(VECTORS[:, :1])).all()


def test_ends_of_the_range():
    assert distance([[[1, 0]] * 3, [[0, 2]] * 3]) == pytest.approx([0, 0])
    assert distance([[[1, 0], [-1, 0]], [[1, 0], [0, 3]]]) == pytest.approx([2, 1])
    assert vendi_of_vectors([[[1, 0], [0, 2]], [[1, 0], [3, 0]]]) == pytest.approx([2, 1])
    assert np.isnan(vendi_of_vectors([[[1, 0]]])).all()


def summed(vectors):
    found = RandomDistance()
    for start in range(0, len(vectors), 4):
        found.add(vectors[start : start + 4])
    return found


def test_the_random_distance_is_the_mean_over_captions_of_different_images():
    every = [(image, vector) for image, vectors in enumerate(VECTORS) for vector in vectors]
    wanted = np.mean([apart(a[1], b[1]) for a, b in combinations(every, 2) if a[0] != b[0]])
    assert summed(VECTORS).value() == pytest.approx(wanted, abs=1e-9)
    assert np.isnan(summed(VECTORS[:1]).value())
    assert np.isnan(RandomDistance().value())


def test_shards_merge_to_the_whole_in_any_order():
    whole, parts = summed(VECTORS), [summed(VECTORS[start : start + 9]) for start in range(0, 30, 9)]
    for order in (parts, parts[::-1]):
        merged = RandomDistance()
        for part in order:
            merged.merge(RandomDistance.from_bytes(part.to_bytes()))
        assert merged.to_bytes() == whole.to_bytes()
    assert summed(VECTORS[1:]).to_bytes() != whole.to_bytes()


@pytest.mark.parametrize("vectors", [np.zeros((1, 2, 3)), np.full((1, 2, 3), np.nan), np.ones((2, 3))])
def test_what_is_no_vector_is_refused(vectors):
    with pytest.raises(UserError, match="check the encoder"):
        distance(vectors)


def test_two_encoders_are_not_mixed():
    found = summed(VECTORS)
    with pytest.raises(CaptionersError, match="two encoders"):
        found.add(VECTORS[..., :3])
