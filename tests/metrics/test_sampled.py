"""captioners/metrics/sampled.py: the lowest keys, whatever the order and the shards."""

import pytest

from captioners.core.errors import CaptionersError
from captioners.metrics.hashed import text_hash
from captioners.metrics.sampled import Sample

KEYS = [f"image-{k}" for k in range(300)]
LOWEST = sorted(KEYS, key=text_hash)


def sampled(keys, limit=40, by="images"):
    found = Sample(limit, by)
    for key in keys:
        found.add(key, ["some words here", key])
    return found


def kept(sample):
    return [key for key, _ in sample.items()]


def test_the_lowest_are_kept():
    assert kept(sampled(KEYS)) == LOWEST[:40]
    assert len(sampled(KEYS)) == 40
    assert kept(sampled(KEYS[:7])) == sorted(KEYS[:7], key=text_hash)


def test_words_fill_it_and_the_one_that_reaches_the_limit_stays():
    # Each image has 3 words and its key's 2.
    assert kept(sampled(KEYS, 51, "words")) == LOWEST[:11]
    assert kept(sampled(KEYS, 50, "words")) == LOWEST[:10]


@pytest.mark.parametrize("by", ["images", "words"])
def test_parts_merge_to_the_whole_in_any_order(by):
    parts = [KEYS[start::7] for start in range(7)]
    for order in (parts, parts[::-1]):
        merged = sampled(order[0], by=by)
        for part in order[1:]:
            merged.merge(sampled(part, by=by))
        assert list(merged.items()) == list(sampled(KEYS, by=by).items())


def test_limits_must_agree():
    with pytest.raises(CaptionersError, match="different limits"):
        sampled(KEYS).merge(sampled(KEYS, limit=41))
