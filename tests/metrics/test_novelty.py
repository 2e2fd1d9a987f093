"""captioners/metrics/novelty.py: what a known text has, and what it has not."""

from captioners.metrics.hashed import Batch
from captioners.metrics.novelty import Known


def test_grams_and_captions_that_are_known():
    known = Known.of(["a b c d e", "x"])
    batch = Batch.of([["A b c d, e!", "b c d e f"], ["x", ""]])
    # Of abcd, bcde, bcde, cdef the last is novel; of three captions with words, one.
    assert known.novel(batch).tolist() == [1, 4, 1, 3]


def test_of_nothing_all_is_novel():
    assert Known.of([]).novel(Batch.of([["a b c d"]])).tolist() == [1, 1, 1, 1]


def test_the_digest_is_of_what_is_said_not_of_its_order():
    assert Known.of(["a b c d", "x"]).digest == Known.of(["x", "x", "A b c d."]).digest != Known.of(["x"]).digest
