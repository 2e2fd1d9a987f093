"""captioners/metrics/kernels.py: Self-CIDEr and LSA as frozen, by closed form, and pair by pair."""

from math import log2, sqrt

import numpy as np
import pytest

from captioners.metrics.frequencies import fit
from captioners.metrics.hashed import Batch
from captioners.metrics.kernels import cider_d_kernel, cider_kernel, cosine_kernel, count_kernel, eigen_diversity
from tests.metrics import oracle
from tests.metrics.oracle import SQUARES, STARS, T5, TRIANGLES

TWO = fit([("0", ["a b c d"]), ("1", ["a e f g"])])
FOUR = fit((str(k), texts) for k, texts in enumerate([T5, TRIANGLES, STARS, SQUARES]))


def self_cider(captions, df=TWO):
    return float(eigen_diversity(cider_kernel(Batch.of([captions]), df))[0])


def lsa(captions):
    return float(eigen_diversity(count_kernel(Batch.of([captions])))[0])


def test_self_cider_is_that_of_the_authors():
    closed = -log2(sqrt(10 + 4.583333333333334) / (sqrt(10 + 4.583333333333334) + sqrt(10 - 4.583333333333334)))
    assert self_cider(["a e f g", "a e f h"]) == pytest.approx(closed, abs=1e-12)
    assert closed == pytest.approx(0.686567220370, abs=1e-10)
    assert self_cider(["a e f g", "a e f h", "a b c d"]) == pytest.approx(0.811008987883, abs=1e-9)
    assert self_cider(["a b c d", "a b c d e"]) == pytest.approx(0.400859454625, abs=1e-9)
    assert self_cider(["a b c d", "a e f g"]) == pytest.approx(1)
    assert self_cider(["a e f g", "a e f g"]) == 0


def test_self_cider_of_four_images_is_the_frozen_one():
    found = [self_cider(captions, FOUR) for captions in (T5, TRIANGLES, STARS, SQUARES)]
    assert found == pytest.approx([0.587697, 0.814537, 0.842503, 0.673955], abs=1e-5)


def test_the_kernel_of_cider_d_is_the_published_code_s():
    """Kept for comparison: of a caption and all of it with one word more, it says more diversity than plain CIDEr."""

    def of(captions, df):
        return float(eigen_diversity(cider_d_kernel(Batch.of([captions]), df))[0])

    assert of(["a b c d", "a b c d e"], TWO) == pytest.approx(0.412336534285, abs=1e-9)
    found = [of(captions, FOUR) for captions in (T5, TRIANGLES, STARS, SQUARES)]
    assert found == pytest.approx([0.588239, 0.830512, 0.842503, 0.691936], abs=1e-5)


@pytest.mark.parametrize("m", [2, 5])
def test_every_pair_by_itself_agrees(m):
    images = oracle.corpus(40, m, letters=5)
    df = fit((str(k), captions) for k, captions in enumerate(images))
    counted = oracle.frequencies(images)
    kernel = cider_kernel(Batch.of(images), df)
    for place, captions in enumerate(images):
        said = oracle.split(captions)
        assert kernel[place] == pytest.approx(np.array([[oracle.cider(a, b, counted) for b in said] for a in said]))
    found = eigen_diversity(kernel)
    # The plain way takes the root of rounding noise: a few 10^-8.
    wanted = [oracle.self_cider(captions, counted) for captions in images]
    assert found == pytest.approx(wanted, abs=1e-6, nan_ok=True)


def test_what_no_table_weighs_is_undefined():
    one = fit([("0", ["a b"])])
    assert np.isnan(self_cider(["a b", "a c"], one)), "one image: every word weighs 0"
    assert np.isnan(self_cider(["", ""]))
    assert np.isnan(self_cider(["a e f g"])), "one caption"


def test_lsa_is_the_frozen_one_and_the_svd_s():
    assert lsa(["a b", "a c"]) == pytest.approx(0.6575030632, abs=1e-9)
    assert (lsa(["a b", "c d"]), lsa(["a b", "a b"])) == (pytest.approx(1), 0)
    assert lsa(T5) == pytest.approx(0.3976235461, abs=1e-9)
    for captions in oracle.corpus(40, 4):
        assert lsa(captions) == pytest.approx(oracle.lsa(captions), abs=1e-6, nan_ok=True)


def test_cosines_of_words_are_those_of_the_frozen_distance():
    kernel = cosine_kernel(Batch.of([T5]))[0]
    assert 1 - kernel[np.triu_indices(5, 1)].mean() == pytest.approx(0.3349510177, abs=1e-9)
    assert np.array_equal(kernel, kernel.T)
    assert cosine_kernel(Batch.of([["", "a"]]))[0].tolist() == [[1, 0], [0, 1]]
