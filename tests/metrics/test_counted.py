"""captioners/metrics/counted.py: a table of counts, whatever the portions."""

from collections import Counter

import numpy as np

from captioners.metrics import counted
from captioners.metrics.counted import HashCounts

DRAWS = np.random.Generator(np.random.Philox(key=7))
EVERY = DRAWS.integers(0, 500, 5000).astype(np.uint64) << np.uint64(54)
WANTED = Counter(EVERY.tolist())


def table(portions):
    found = HashCounts()
    for portion in portions:
        found.add(portion)
    return found


def told(found):
    return dict(zip(found.hashes().tolist(), found.counts().tolist(), strict=True))


def test_it_counts(monkeypatch):
    """Also where it settles many times on the way."""
    for pending in (counted._PENDING, 10):
        monkeypatch.setattr(counted, "_PENDING", pending)
        found = table(np.array_split(EVERY, 37))
        assert told(found) == WANTED
        assert (np.diff(found.hashes().astype(object)) > 0).all()


def test_tables_add_up():
    found, other = table([EVERY[:1000]]), table([EVERY[1000:]])
    found.merge(other)
    assert told(found) == WANTED
    assert told(other) == Counter(EVERY[1000:].tolist()), "what is merged in stays as it was"
    found.add_counted(found.hashes().copy(), found.counts().copy())
    assert told(found) == {key: 2 * times for key, times in WANTED.items()}


def test_nothing_is_counted_as_nothing():
    found = table([np.zeros(0, np.uint64)])
    assert len(found.hashes()) == len(found.counts()) == 0
