"""captioners/metrics/hashed.py: arrays of hashes say of n-grams what the n-grams themselves say."""

from collections import Counter
from hashlib import blake2b

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.hashed import Batch, _WordHashes, pooled, text_hash
from captioners.metrics.tokens import grams, words
from tests.metrics import oracle

IMAGES = oracle.corpus(40, 4)
ONE, OTHER = oracle.corpus(20, 2, seed=1), oracle.corpus(20, 3, seed=2)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_entries_are_the_counts_of_every_caption(n):
    found = Batch.of(IMAGES).grams(n)
    wanted = [Counter(grams(words(text), n)) for captions in IMAGES for text in captions]
    assert sum(map(len, wanted)) == len(found.hashes)
    for place, counts in enumerate(wanted):
        mine = found.captions == place
        assert sorted(found.times[mine].tolist()) == sorted(counts.values())
    # The groups are those of one image and n-gram.
    image = found.captions // 4
    pairs = np.stack([image.astype(np.uint64), found.hashes])
    assert len(np.unique(pairs, axis=1).T) == len(found.starts) == found.groups[-1] + 1
    expected = sum(len({g for text in captions for g in grams(words(text), n)}) for captions in IMAGES)
    assert len(found.starts) == expected


def stirred(number):
    """SplitMix64's finaliser, in plain whole numbers."""
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB % 2**64
    return number ^ (number >> 31)


def test_the_same_words_have_the_same_hashes_anywhere():
    """Tables that are stored and merged rest on it: another formula needs another version of every metric."""
    word = {text: int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") for text in ("red", "cat")}
    step = 0x9E3779B97F4A7C15
    batch = Batch.of([["red cat", "Red, cat!"]])
    bigram = stirred((stirred((2 * step + word["red"]) % 2**64) * step + word["cat"]) % 2**64)
    assert batch.gram_hashes(2)[0].tolist() == [bigram, bigram]
    caption = stirred((stirred(word["red"]) + stirred((word["cat"] + step) % 2**64) + 2) % 2**64)
    assert batch.caption_hashes.tolist() == [[caption, caption]]
    assert batch.words.tolist() == [text_hash("red"), text_hash("cat")] * 2


def test_order_length_and_n_make_other_hashes():
    batch = Batch.of([["a b", "b a", "a", "a a", "", "a b c"]])
    assert len(set(batch.caption_hashes[0].tolist())) == 6
    assert not set(batch.gram_hashes(1)[0].tolist()) & set(batch.gram_hashes(2)[0].tolist())


def test_some_captions_of_each_image_are_a_batch_of_their_own():
    chosen = np.array([[k % 4, (k + 2) % 4] for k in range(40)])
    found = Batch.of(IMAGES).subset(chosen)
    wanted = Batch.of([[captions[place] for place in row] for captions, row in zip(IMAGES, chosen, strict=True)])
    assert np.array_equal(found.words, wanted.words)
    assert np.array_equal(found.lengths, wanted.lengths)


def test_pooled_is_as_if_one_captioner_had_said_all():
    found = pooled([Batch.of(ONE), Batch.of(OTHER)])
    wanted = Batch.of([[*a, *b] for a, b in zip(ONE, OTHER, strict=True)])
    assert np.array_equal(found.words, wanted.words) and np.array_equal(found.lengths, wanted.lengths)
    with pytest.raises(UserError, match="same images"):
        pooled([Batch.of(ONE), Batch.of(OTHER[:3])])


def test_words_are_forgotten_before_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr("captioners.metrics.hashed._MOST_WORDS", 3)
    known = _WordHashes()
    assert [known[word] for word in "abcdeab"] == [text_hash(word) for word in "abcdeab"]
    assert len(known) <= 3


def test_nothing_and_unequal_numbers():
    empty = Batch.of([])
    assert (empty.images, empty.m) == (0, 0)
    assert len(Batch.of([["", ""]]).grams(2).hashes) == 0
    with pytest.raises(UserError, match="have 1 to 2"):
        Batch.of([["a"], ["a", "b"]])
