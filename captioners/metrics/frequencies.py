"""In how many images each n-gram stands: the one table that Self-CIDEr weighs words by, fitted once for all captioners.

A table fitted to each captioner's own captions would make their numbers incomparable, so it is fitted once, kept in a
file, and named by its digest wherever a number made with it stands.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np

from captioners.metrics.counted import HashCounts
from captioners.metrics.hashed import Batch, Hashes, Numbers, Whole
from captioners.metrics.packed import pack, unpack
from captioners.metrics.sampled import Sample

LONGEST = 4
"""n-grams are those of 1 to 4 words."""
IMAGES = 50_000
"""Of a larger set, those whose keys hash lowest."""
_AT_ONCE = 4096


@dataclass(frozen=True)
class HashedFrequencies:
    """Document frequencies by 64-bit hashes of n-grams; an n-gram that is not in the table stands in one image."""

    images: int
    hashes: Hashes
    """Sorted, [V]."""
    counts: Whole
    """Images, 2 or more, [V]."""

    @cached_property
    def digest(self) -> str:
        """The sha256 of what the table says."""
        numbers = (np.array([self.images]), self.hashes, self.counts)
        return sha256(b"".join(array.astype("<u8").tobytes() for array in numbers)).hexdigest()

    def weights(self, hashes: Hashes) -> Numbers:
        """Return inverse document frequencies in nats, of n-grams by their hashes, [G] -> [G]."""
        found = np.zeros(len(hashes))
        if len(self.hashes):
            places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
            found = np.where(self.hashes[places] == hashes, np.log(self.counts[places]), 0.0)
        return np.asarray(np.log(max(1, self.images)) - found, dtype=np.float64)

    def to_bytes(self) -> bytes:
        """Return it as an npz file: the same table gives the same bytes."""
        return pack({"images": self.images, "hashes": self.hashes, "counts": self.counts.astype(np.uint32)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "HashedFrequencies":
        """Read what `to_bytes` gave.

        Raises:
            UserError: it is no such table.
        """
        found = unpack(data, "document frequencies", "images", "hashes", "counts")
        return cls(int(found["images"]), found["hashes"].astype(np.uint64), found["counts"].astype(np.int64))


def fit(images: Iterable[tuple[str, Sequence[str]]], most: int = IMAGES) -> HashedFrequencies:
    """Count the n-grams of a set's captions or references, given as (key, texts) of each image in any order.

    Args:
        most: of more images, these many whose keys hash lowest are counted; images without a text are not.
    """
    sample = Sample(most)
    for key, texts in images:
        if texts:
            sample.add(key, texts)
    texts_of = [texts for _, texts in sample.items()]
    table = HashCounts()
    for start in range(0, len(texts_of), _AT_ONCE):
        table.add_counted(*_counted(texts_of[start : start + _AT_ONCE]))
    often = table.counts() > 1  # once is what an absent n-gram counts as
    return HashedFrequencies(len(texts_of), table.hashes()[often], table.counts()[often])


def _counted(texts: Sequence[Sequence[str]]) -> tuple[Hashes, Whole]:
    """Return the n-grams of some images and the number of images that have each."""
    # Each text is a row of its own, for images may have any number of them.
    batch = Batch.of([[text] for of_image in texts for text in of_image])
    image = np.repeat(np.arange(len(texts)), [len(of_image) for of_image in texts])
    found = []
    for n in range(1, LONGEST + 1):
        hashes, rows = batch.gram_hashes(n)
        known, rank = np.unique(hashes, return_inverse=True)
        pairs = np.unique(image[rows] * max(1, len(known)) + rank)
        found.append(known[pairs % max(1, len(known))])
    hashes, counts = np.unique(np.concatenate(found), return_counts=True)
    return hashes, counts.astype(np.int64)
