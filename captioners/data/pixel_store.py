"""Resized pictures of a set on disk, read as if they lay in memory: 50,000 of them are 7.5 GB, which no laptop holds.

The file has no name: what was read of it goes when the process does, however that ends.
"""

import errno
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import UserError


class PixelStore:
    """Pictures of one shape, added one after another, then read in any order; what `rows` gave outlives the `with`."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by the `with` around the store
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def __enter__(self) -> "PixelStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        """Return how many were added."""
        return self._count

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Add a picture, uint8 [3, H, W]; raise UserError when the disk is full."""
        if self._count and pixels.shape != self._shape:
            raise ValueError(f"pictures of one shape are stored, {self._shape}, not {pixels.shape}")
        self._shape = pixels.shape
        try:
            self._file.write(pixels.tobytes())
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"{self._folder}: out of disk after {self._count:,} pictures of {pixels.nbytes / 1e3:,.0f} kB; free "
                "some space, or name another output"
            ) from None
        self._count += 1

    def rows(self) -> NDArray[np.uint8]:
        """Return all pictures, uint8 [count, 3, H, W], read from the disk as they are asked for."""
        self._file.flush()
        if not self._count:
            return np.zeros((0, 3, 0, 0), dtype=np.uint8)
        return np.memmap(self._file, dtype=np.uint8, mode="r", shape=(self._count, *self._shape))
