"""captioners/metrics/frequencies.py: weights as counted one by one, and a table that is the same file every time."""

from math import log

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.frequencies import HashedFrequencies, fit
from captioners.metrics.hashed import Batch
from captioners.metrics.references import document_frequencies
from captioners.metrics.tokens import grams, words
from tests.metrics import oracle

IMAGES = oracle.corpus(60, 3)
KEYS = [f"k{place}" for place in range(60)]


def weight(df, gram):
    hashes, _ = Batch.of([[" ".join(gram)]]).gram_hashes(len(gram))
    return float(df.weights(hashes)[0])


def test_weights_are_those_of_the_references_module():
    """Also of n-grams of one image or none, which the table leaves out."""
    df, counted = fit(zip(KEYS, IMAGES, strict=True)), document_frequencies(IMAGES)
    assert df.images == counted.images
    every = {gram for captions in IMAGES for text in captions for n in range(1, 5) for gram in grams(words(text), n)}
    for gram in [*sorted(every)[::7], ("never", "said"), ("x",)]:
        assert weight(df, gram) == pytest.approx(counted.weight(gram), abs=1e-12)
    assert df.counts.min() >= 2
    assert len(df.hashes) == sum(times > 1 for times in counted.counts.values())
    assert counted.hashed().to_bytes() == df.to_bytes()


def test_a_table_is_the_same_bytes_whatever_the_order_and_comes_back():
    pairs = list(zip(KEYS, IMAGES, strict=True))
    one, other = fit(pairs), fit(pairs[::-1])
    assert one.to_bytes() == other.to_bytes()
    again = HashedFrequencies.from_bytes(one.to_bytes())
    assert again.digest == one.digest != fit(pairs[1:]).digest
    assert np.array_equal(again.hashes, one.hashes) and again.images == 60
    with pytest.raises(UserError, match="no file of document frequencies"):
        HashedFrequencies.from_bytes(b"PK nonsense")


def test_of_a_large_set_a_sample_by_key_is_counted():
    pairs = list(zip(KEYS, IMAGES, strict=True))
    some = fit(pairs, most=20)
    assert some.images == 20
    assert some.digest == fit(pairs[::-1], most=20).digest
    assert fit([*pairs, ("without", [])], most=100).images == 60, "an image without a text is none"


def test_texts_of_one_image_count_once():
    df = fit([("0", ["a b", "a c"]), ("1", ["a"]), ("2", ["d"])])
    assert weight(df, ("a",)) == pytest.approx(log(3) - log(2))
    assert weight(df, ("b",)) == pytest.approx(log(3))
    assert fit([]).images == 0
