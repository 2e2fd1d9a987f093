"""Near-duplicate pictures: the same photo re-encoded, resized or a little edited, found by a perceptual hash.

The hash is the well-known DCT hash (pHash): of a grey picture of 32 x 32, which of its 8 x 8 lowest frequencies lie
above their median. A hash alone takes two drawings of one layout in two colours for one picture, so a pair that it
proposes is confirmed by the correlation of two small thumbnails in colour. Groups are what confirmed pairs connect.

Pairs are looked for in bands, not all against all: hashes at most 8 bits apart agree in at least one of 9 bands.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_BITS = 8
"""Bits of 64 in which the hashes of near-duplicates differ at most; two photos differ in about 32."""
LEAST_CORRELATION = 0.95
"""Of their thumbnails, brightness set aside."""
_SIDE, _FREQUENCIES, _THUMBNAIL = 32, 8, 16
_PLAIN = 1.0
"""Standard deviation, of 255, below which a picture shows nothing that could correlate."""
_ROWS, _CONFIRMED = 1024, 8192
"""Pictures compared, and pairs confirmed, at a time."""

Thumbnail = NDArray[np.uint8]
"""Flat, [16 * 16 * 3]."""
Fingerprint = tuple[int, Thumbnail]
"""A hash of 64 bits, and the thumbnail."""
Numbers = NDArray[np.int64]


def fingerprint(image: Image.Image) -> Fingerprint:
    """Return what a decoded RGB picture is recognised by.

    >>> fingerprint(Image.new("RGB", (40, 30), "white"))[1].shape
    (768,)
    """
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    grey = np.asarray(small.convert("L"), dtype=np.float64)
    basis = _cosines()
    frequencies = np.round((basis @ grey @ basis.T).ravel()[1:], 6)  # without the mean; a plain picture has none
    bits = np.append(frequencies > np.median(frequencies), False)
    thumbnail = np.asarray(small.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX), dtype=np.uint8)
    return int.from_bytes(np.packbits(bits).tobytes(), "big"), thumbnail.ravel()


def near_duplicates(found: Sequence[Fingerprint]) -> Numbers:
    """Return for each picture the number of its group's first picture, int64 [count]; alone, a picture's own number."""
    groups = Groups(len(found))
    if not found:
        return groups.roots()
    hashes = np.array([number for number, _ in found], dtype=np.uint64)
    thumbnails = np.stack([thumbnail for _, thumbnail in found])
    # Equal ones first, so that a thousand copies are not half a million pairs.
    whole = np.concatenate([hashes[:, None].view(np.uint8), thumbnails], axis=1)
    _, firsts, which = np.unique(whole, axis=0, return_index=True, return_inverse=True)
    groups.join(np.arange(len(found)), firsts[which.ravel()])
    alone = np.sort(firsts)
    for one, other in _near_pairs(hashes[alone]):
        for start in range(0, len(one), _CONFIRMED):
            first, second = alone[one[start : start + _CONFIRMED]], alone[other[start : start + _CONFIRMED]]
            roots = groups.roots()
            new = roots[first] != roots[second]
            first, second = first[new], second[new]
            same = _alike(thumbnails[first], thumbnails[second])
            groups.join(first[same], second[same])
    return groups.roots()


class Groups:
    """Union-find over numbers: which belong together; a group is called by its smallest number."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, number: int) -> int:
        """Return the smallest number of a number's group."""
        root = number
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[number] != root:
            self._parent[number], number = root, self._parent[number]
        return root

    def join(self, first: Iterable[int], second: Iterable[int]) -> None:
        """Join the groups of each pair."""
        for one, other in zip(first, second, strict=True):
            a, b = self.find(int(one)), self.find(int(other))
            self._parent[max(a, b)] = min(a, b)

    def roots(self) -> Numbers:
        """Return every number's group, int64 [count]."""
        parent = np.array(self._parent, dtype=np.int64)
        while not np.array_equal(higher := parent[parent], parent):
            parent = higher
        return parent


def _near_pairs(hashes: NDArray[np.uint64]) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield numbers (first, second) of pairs at most `MOST_BITS` apart, once for each band that a pair shares."""
    edges = np.linspace(0, 64, MOST_BITS + 2).astype(int).tolist()
    for low, high in pairwise(edges):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            for start in range(0, len(members), _ROWS):
                for behind in range(start, len(members), _ROWS):
                    rows, columns = members[start : start + _ROWS], members[behind : behind + _ROWS]
                    apart = np.bitwise_count(hashes[rows, None] ^ hashes[None, columns])
                    one, other = np.nonzero(apart <= MOST_BITS)
                    once = one < other if start == behind else slice(None)
                    yield rows[one[once]], columns[other[once]]


def _alike(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which pairs of thumbnails show the same, bool [pairs]."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    plain = (a.std(axis=1) < _PLAIN) & (b.std(axis=1) < _PLAIN)
    one, other = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    lengths = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    correlation = (one * other).sum(axis=1) / np.maximum(lengths, 1e-9)
    same_grey = np.abs(a - b).mean(axis=1) < 2 * _PLAIN
    same: NDArray[np.bool_] = np.where(plain, same_grey, correlation >= LEAST_CORRELATION)
    return same


@cache
def _cosines() -> NDArray[np.float64]:
    """Return the lowest rows of the discrete cosine transform (type II), float64 [8, 32]."""
    places = (2 * np.arange(_SIDE) + 1) * np.pi / (2 * _SIDE)
    return np.cos(np.arange(_FREQUENCIES)[:, None] * places[None, :])
