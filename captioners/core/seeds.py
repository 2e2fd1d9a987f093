"""Randomness as a function: uniforms from (run seed, image sha256, member, draw, attempt, step), and nothing else.

Training draws its orders in the same way, from (seed, epoch).

A counter-based generator (Philox 4x64-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") keyed by a
hash of who asks; the step is its counter. So a caption's draws do not depend on which other captions are made, in what
order or where.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stream:
    """Whose random numbers: the part of the key that all draws of one member from one image share."""

    run_seed: int
    image_sha256: str
    member: str = ""

    def uniforms(self, draw: int, attempt: int, count: int) -> NDArray[np.float64]:
        """Return `count` uniforms in [0, 1), float64 [count]; element t is the one of step t, whatever `count` is.

        >>> stream = Stream(0, "ab" * 32)
        >>> bool((stream.uniforms(0, 0, 3) == stream.uniforms(0, 0, 9)[:3]).all())
        True
        """
        name = "\x1f".join(map(str, (self.run_seed, self.image_sha256, self.member, draw, attempt)))
        return _uniforms(name, b"captioners-draw1", count)


def uniforms(count: int, *name: int | str) -> NDArray[np.float64]:
    """Return `count` uniforms in [0, 1), float64 [count], that depend on `name` alone.

    >>> bool((uniforms(3, "order", 0) == uniforms(9, "order", 0)[:3]).all())
    True
    """
    return _uniforms("\x1f".join(map(str, name)), b"captioners-name1", count)


def permutation(count: int, *name: int | str) -> NDArray[np.int64]:
    """Return a permutation of 0..count - 1, int64 [count], that depends on `name` and `count` alone.

    >>> sorted(permutation(5, "order", 0).tolist())
    [0, 1, 2, 3, 4]
    """
    return np.argsort(uniforms(count, *name), kind="stable").astype(np.int64)


def _uniforms(name: str, person: bytes, count: int) -> NDArray[np.float64]:
    key = int.from_bytes(blake2b(name.encode(), digest_size=16, person=person).digest(), "little")
    raw = np.random.Philox(key=key).random_raw(count)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
