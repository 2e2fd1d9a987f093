"""How far apart an image's captions lie in a text encoder's space; no encoder is known here, only its vectors.

Such spaces are narrow cones: two captions of different images are not at right angles, either. So the distance within
an image is also given as a share of the mean distance between captions of different images of the same set.
"""

from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captioners.core.errors import CaptionersError, UserError
from captioners.metrics.hashed import Numbers
from captioners.metrics.metric import Metric
from captioners.metrics.packed import pack, text_of, unpack
from captioners.metrics.vendi import vendi

_TEVET = "after Tevet & Berant 2021 (arXiv 2004.02990), 1 - cosine over pairs of a text encoder's vectors"
DISTANCE = Metric(name="embedding distance", unit="1 - cosine", high=2, better="higher", source=_TEVET)
RELATIVE_DISTANCE = Metric(
    name="relative embedding distance",
    unit="share",
    better="higher",
    source=f"{_TEVET}; over that of captions of different images",
)
_UNIT = 2.0**32
"""Sums are of whole multiples of 1 / this: exact, whatever the order, for up to 2^31 captions."""


def unit_vectors(vectors: ArrayLike) -> Numbers:
    """Return vectors [B, m, D] at length 1, float64.

    Raises:
        UserError: another shape, a vector of zeros or one that is not finite.
    """
    found = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(found, axis=-1, keepdims=True)
    if found.ndim != 3 or not np.isfinite(norms).all() or not norms.all():
        raise UserError("vectors [B, m, D] of finite numbers, none of them all zero, are needed; check the encoder")
    return np.asarray(found / norms, dtype=np.float64)


def distance(vectors: ArrayLike) -> Numbers:
    """Return the mean 1 - cosine over pairs of an image's captions, [B, m, D] -> [B], from 0 to 2; nan for m = 1.

    Linear in m: the squared length of the sum holds all cosines. A mean over pairs, so more captions do not bias it.
    """
    unit = unit_vectors(vectors)
    m = unit.shape[1]
    if m < 2:
        return np.full(len(unit), nan)
    sums = unit.sum(axis=1)
    cosine = ((sums * sums).sum(axis=-1) - m) / (m * (m - 1))
    return np.asarray(np.clip(1 - cosine, 0, 2), dtype=np.float64)


def vendi_of_vectors(vectors: ArrayLike) -> Numbers:
    """Return the Vendi score of each image's captions by the cosines of their vectors, [B, m, D] -> [B]; nan for m = 1.

    Cosines below zero stay: the kernel of cosines is positive semidefinite as it is.
    """
    unit = unit_vectors(vectors)
    return np.full(len(unit), nan) if unit.shape[1] < 2 else vendi(cosines(unit))


def cosines(unit: Numbers) -> Numbers:
    """Return the kernel of cosines of unit vectors, [B, m, D] -> [B, m, m]."""
    found = unit @ unit.transpose(0, 2, 1)
    itself = np.arange(unit.shape[1])
    found[:, itself, itself] = 1.0
    return np.asarray(found, dtype=np.float64)


class RandomDistance:
    """The mean 1 - cosine over all pairs of captions of *different* images: exact, in one pass, merged exactly."""

    def __init__(self) -> None:
        self._sum: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._own = 0
        """Of images, the squared length of the sum of its vectors: pairs of one image, and each with itself."""
        self._captions = 0
        self._pairs = 0
        """Ordered pairs of one image."""

    def add(self, vectors: ArrayLike) -> None:
        """Add images' captions, [B, m, D]."""
        unit = unit_vectors(vectors)
        images, m, width = unit.shape
        whole = np.rint(unit * _UNIT).astype(np.int64)
        sums = unit.sum(axis=1)
        self._grow(width)
        self._sum += whole.sum(axis=(0, 1))
        self._own += sum(map(int, np.rint((sums * sums).sum(axis=-1) * _UNIT).tolist()))
        self._captions += images * m
        self._pairs += images * m * m

    def merge(self, other: "RandomDistance") -> None:
        """Add the captions of other images."""
        if len(other._sum):
            self._grow(len(other._sum))
            self._sum += other._sum
        self._own += other._own
        self._captions += other._captions
        self._pairs += other._pairs

    def value(self) -> float:
        """Return the mean; nan with fewer than two images."""
        pairs = self._captions**2 - self._pairs
        if not pairs:
            return nan
        whole = self._sum / _UNIT
        return float(1 - (whole @ whole - self._own / _UNIT) / pairs)

    def to_bytes(self) -> bytes:
        """Return it as an npz file: the same sums give the same bytes."""
        return pack({"sum": self._sum, "rest": " ".join(map(str, (self._own, self._captions, self._pairs)))})

    @classmethod
    def from_bytes(cls, data: bytes) -> "RandomDistance":
        """Read what `to_bytes` gave.

        Raises:
            UserError: it is no such file.
        """
        found, read = cls(), unpack(data, "sums of vectors", "sum", "rest")
        found._sum = read["sum"]
        found._own, found._captions, found._pairs = map(int, text_of(read["rest"]).split())
        return found

    def _grow(self, width: int) -> None:
        if not len(self._sum):
            self._sum = np.zeros(width, dtype=np.int64)
        if len(self._sum) != width:
            raise CaptionersError(f"vectors of {width} numbers after those of {len(self._sum)}: two encoders")
