"""Captions as arrays: every word and n-gram is a 64-bit hash, so that a batch of images is counted by numpy.

The hashes are the same on every machine and in every process, so tables of them can be stored and merged. Two
different n-grams share one by chance once in 10^19 pairs. Nothing of an image depends on the others of its batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import UserError
from captioners.metrics.tokens import Words, words

Numbers = NDArray[np.float64]
Whole = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_MOST_WORDS = 1 << 20
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class _WordHashes(dict[str, int]):
    """A word's hash, remembered."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MOST_WORDS:  # text of the web never stops bringing new ones
            self.clear()
        found = self[word] = text_hash(word)
        return found


_known = _WordHashes()


def text_hash(text: str) -> int:
    """Return 64 bits of a text's BLAKE2b."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def mixed(hashes: Hashes) -> Hashes:
    """Return hashes stirred, one to one (the finaliser of SplitMix64, Steele et al. 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * _FIRST
    hashes = (hashes ^ (hashes >> np.uint64(27))) * _SECOND
    return np.asarray(hashes ^ (hashes >> np.uint64(31)), dtype=np.uint64)


@dataclass(frozen=True)
class Grams:
    """The n-grams of a batch, counted: one entry for each (image, n-gram, caption), in this order."""

    hashes: Hashes
    """Of the entry's n-gram, [E]."""
    captions: Whole
    """Place of the entry's caption in the batch, image * m + k, [E]."""
    times: Whole
    """How often the caption has the n-gram, [E]."""
    starts: Whole
    """Place of the first entry of each (image, n-gram), [G]."""

    @cached_property
    def groups(self) -> Whole:
        """Each entry's place in `starts`, [E]."""
        first = np.zeros(len(self.hashes), dtype=np.int64)
        first[self.starts] = 1
        return np.asarray(np.cumsum(first) - 1, dtype=np.int64)


@dataclass(frozen=True)
class Batch:
    """The captions of B images, m of each, as hashes of their words in order."""

    words: Hashes
    """[T], of all captions one after the other."""
    lengths: Whole
    """Words of each caption, [B, m]."""
    _grams: dict[int, Grams] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, captions: Sequence[Sequence[str]]) -> "Batch":
        """Split the captions of B images; raise UserError unless each has as many."""
        return cls.of_words([[words(text) for text in of_image] for of_image in captions])

    @classmethod
    def of_words(cls, captions: Sequence[Sequence[Words]]) -> "Batch":
        """Take captions that are split already."""
        counts = {len(of_image) for of_image in captions}
        if len(counts) > 1:
            raise UserError(
                f"diversity is compared at an equal number of captions an image, and these have {min(counts)} to "
                f"{max(counts)}; give the same number of each"
            )
        flat = list(chain.from_iterable(captions))
        lengths = np.fromiter(map(len, flat), dtype=np.int64, count=len(flat))
        every = map(_known.__getitem__, chain.from_iterable(flat))
        found = np.fromiter(every, dtype=np.uint64, count=int(lengths.sum()))
        return cls(found, lengths.reshape(len(captions), counts.pop() if counts else 0))

    @property
    def images(self) -> int:
        """B."""
        return int(self.lengths.shape[0])

    @property
    def m(self) -> int:
        """Captions of an image."""
        return int(self.lengths.shape[1])

    @cached_property
    def caption_hashes(self) -> Hashes:
        """One hash for each caption's words in order, [B, m]; case and punctuation do not count."""
        flat = self.lengths.ravel()
        ends = np.cumsum(flat)
        places = np.arange(len(self.words)) - np.repeat(ends - flat, flat)
        # Sums wrap around at 2^64, so the difference of two running sums is exact.
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed(self.words + _STEP * places.astype(np.uint64)))])
        return mixed(sums[ends] - sums[ends - flat] + flat.astype(np.uint64)).reshape(self.lengths.shape)

    def subset(self, chosen: Whole) -> "Batch":
        """Return the batch of some captions of each image, by their places, [B, S] -> S of each."""
        flat = self.lengths.ravel()
        starts = np.cumsum(flat) - flat
        places = (np.arange(self.images)[:, None] * self.m + chosen).ravel()
        lengths = flat[places]
        ends = np.cumsum(lengths)
        at = np.arange(int(lengths.sum())) + np.repeat(starts[places] - (ends - lengths), lengths)
        return Batch(self.words[at], lengths.reshape(chosen.shape))

    def gram_hashes(self, n: int) -> tuple[Hashes, Whole]:
        """Return all n-grams in order, repeats included: their hashes and the places of their captions, [N], [N]."""
        flat = self.lengths.ravel()
        ends = np.repeat(np.cumsum(flat), flat)
        starts = np.flatnonzero(np.arange(len(self.words)) + n <= ends)
        found = np.full(len(starts), n, dtype=np.uint64)
        for offset in range(n):
            found = mixed(found * _STEP + self.words[starts + offset])
        return found, np.repeat(np.arange(flat.size), flat)[starts]

    def grams(self, n: int) -> Grams:
        """Return the n-grams counted, n from 1; counted once."""
        if n not in self._grams:
            self._grams[n] = self._counted(n)
        return self._grams[n]

    def _counted(self, n: int) -> Grams:
        hashes, captions = self.gram_hashes(n)
        if not len(hashes):
            return Grams(hashes, captions, captions.copy(), captions.copy())
        known, rank = np.unique(hashes, return_inverse=True)
        # One whole number for each (image, n-gram, caption): sorting numbers is several times as fast as three columns.
        image, k = np.divmod(captions, self.m)
        keys = np.sort((image * len(known) + rank) * self.m + k)
        first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        times = np.diff(np.append(first, len(keys)))
        grams, k = np.divmod(keys[first], self.m)
        image, rank = np.divmod(grams, len(known))
        starts = np.flatnonzero(np.concatenate([[True], grams[1:] != grams[:-1]]))
        return Grams(known[rank], image * self.m + k, times, starts)


def pooled(batches: Sequence[Batch]) -> Batch:
    """Return the captions of several captioners as those of one, the first captioner's first.

    Raises:
        UserError: they describe different numbers of images.
    """
    images = {batch.images for batch in batches}
    if len(images) != 1:
        raise UserError(f"captioners are compared on the same images, and these have {sorted(images)}")
    image = np.concatenate([np.repeat(np.arange(batch.images), batch.lengths.sum(axis=1)) for batch in batches])
    words = np.concatenate([batch.words for batch in batches])
    return Batch(words[np.argsort(image, kind="stable")], np.concatenate([b.lengths for b in batches], axis=1))
