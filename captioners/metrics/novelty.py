"""What captions say that a reference or training text does not: novel 4-grams and novel captions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np

from captioners.metrics.counted import HashCounts
from captioners.metrics.frequencies import IMAGES
from captioners.metrics.hashed import Batch, Hashes, Whole
from captioners.metrics.metric import Metric
from captioners.metrics.packed import pack, unpack

N = 4
_MILTENBURG = "after van Miltenburg et al. 2018"
_KNOWN = f"the known text (whole shards of a source, until there are {IMAGES:,} images)"
NOVEL_GRAMS = Metric(
    name="novel 4-grams",
    unit="share",
    high=1,
    better="neither",
    source=f"{_MILTENBURG}; share of 4-grams, repeats included, that {_KNOWN} has not",
)
NOVEL_CAPTIONS = Metric(
    name="novel captions",
    unit="share",
    high=1,
    better="neither",
    source=f"{_MILTENBURG}; share of captions, as words, that {_KNOWN} has not",
)
_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Known:
    """The 4-grams and captions of a text, as sorted hashes."""

    grams: Hashes
    captions: Hashes

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Known":
        """Take in all captions of a reference or training set."""
        grams, captions = HashCounts(), HashCounts()
        waiting: list[str] = []
        for text in texts:
            waiting.append(text)
            if len(waiting) == _AT_ONCE:
                _take(waiting, grams, captions)
                waiting = []
        _take(waiting, grams, captions)
        return cls(grams.hashes(), captions.hashes())

    @cached_property
    def digest(self) -> str:
        """The sha256 of what is known."""
        sizes = np.array([len(self.grams), len(self.captions)])
        return sha256(b"".join(a.astype("<u8").tobytes() for a in (sizes, self.grams, self.captions))).hexdigest()

    def to_bytes(self) -> bytes:
        """Return it as an npz file: the same text gives the same bytes."""
        return pack({"grams": self.grams, "captions": self.captions})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Known":
        """Read what `to_bytes` gave.

        Raises:
            UserError: it is no such file.
        """
        found = unpack(data, "n-grams and captions", "grams", "captions")
        return cls(found["grams"].astype(np.uint64), found["captions"].astype(np.uint64))

    def novel(self, batch: Batch) -> Whole:
        """Return (novel 4-grams, 4-grams, novel captions, captions) of a batch, int64 [4]; empty captions are none."""
        grams, _ = batch.gram_hashes(N)
        captions = batch.caption_hashes[batch.lengths > 0]
        novel = [_missing(grams, self.grams), len(grams), _missing(captions, self.captions), len(captions)]
        return np.array(novel, dtype=np.int64)


def _take(texts: Sequence[str], grams: HashCounts, captions: HashCounts) -> None:
    batch = Batch.of([[text] for text in texts])
    grams.add(batch.gram_hashes(N)[0])
    captions.add(batch.caption_hashes.ravel())


def _missing(hashes: Hashes, known: Hashes) -> int:
    if not len(known):
        return len(hashes)
    places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return int((known[places] != hashes).sum())
