"""captioners/metrics/between.py: sets by hand."""

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.between import (
    duplicates,
    facts_added,
    gamma_added,
    marginal_vocabulary,
    overlap,
)
from captioners.metrics.faithfulness import Judged, Verdict
from captioners.metrics.hashed import Batch, pooled
from captioners.metrics.kernels import cosine_kernel
from captioners.metrics.tokens import grams, words
from tests.metrics import oracle

ONE, OTHER = oracle.corpus(20, 2, seed=1, letters=4), oracle.corpus(20, 3, seed=2, letters=4)
BOTH = pooled([Batch.of(ONE), Batch.of(OTHER)])


def test_overlap_is_the_jaccard_index_of_sets():
    found = overlap(BOTH, [2, 3])
    for place, (a, b) in enumerate(zip(ONE, OTHER, strict=True)):
        sets = [{gram for text in captions for gram in grams(words(text), 2)} for captions in (a, b)]
        union = sets[0] | sets[1]
        assert found[0, 1, place] == pytest.approx(
            len(sets[0] & sets[1]) / len(union) if union else np.nan, nan_ok=True
        )
        assert found[1, 0, place] == pytest.approx(found[0, 1, place], nan_ok=True)
        assert found[0, 0, place] == 1 or not sets[0]


def test_equal_captions_are_counted_over_pairs():
    batch = pooled([Batch.of([["a b", "c"], ["a", "a"]]), Batch.of([["A b!", "a b", "d"], ["b", "c", "d"]])])
    found = duplicates(batch, [2, 3])
    assert found[0, 1].tolist() == [2 / 6, 0] == found[1, 0].tolist()
    assert found[0, 0].tolist() == [0, 1]
    assert found[1, 1].tolist() == pytest.approx([1 / 3, 0])
    assert np.isnan(duplicates(Batch.of([["a", "b"]]), [1, 1])[0, 0]).all()


def test_marginal_vocabulary_is_what_no_other_says():
    def vocabulary(text):
        return np.unique(Batch.of([[text]]).words)

    found = marginal_vocabulary({"x": vocabulary("a b c d"), "y": vocabulary("a e"), "z": vocabulary("b a")})
    assert found == {"x": 2, "y": 1, "z": 0}


def test_gamma_added_is_the_whole_less_the_rest():
    batch = Batch.of([["x y", "x y", "z w"], ["x y", "z w", "z w"]])
    found = gamma_added(cosine_kernel(batch), [1, 1, 1])
    assert found[2] == pytest.approx([np.exp(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))) - 1, found[1][1]])
    assert (found[0][0] < 0) and (found[0][1] > 0), "one more of the same lowers it; the only one of its sort raises it"


def test_facts_added_are_those_that_no_other_tells():
    def verdict(*facts):
        return Verdict(claims=(), facts=frozenset(facts))

    images = [
        Judged(verdicts=(verdict(1, 2), verdict(1), verdict(1, 3, 4)), num_facts=5),
        Judged(verdicts=(verdict(),) * 3),
    ]
    found = facts_added(images, [2, 1])
    assert found[:, 0].tolist() == [1 / 5, 2 / 5]
    assert np.isnan(found[:, 1]).all()
    with pytest.raises(UserError, match="an image has 3 captions, not 2 \\+ 2"):
        facts_added(images, [2, 2])


def test_counts_must_be_those_of_the_captions():
    with pytest.raises(UserError, match="images of 5 captions have not 2 \\+ 2"):
        overlap(BOTH, [2, 2])
