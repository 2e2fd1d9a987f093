"""Sums and tables as files: arrays in an npz that is the same bytes for the same content, and never a pickle."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captioners.core.errors import UserError

_DAMAGED = (ValueError, KeyError, OSError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)
"""What numpy and zipfile raise of bytes that are not what was written; of an unknown compression, a RuntimeError."""


def pack(arrays: Mapping[str, ArrayLike | str]) -> bytes:
    """Return arrays and texts as one npz file."""
    file = io.BytesIO()
    plain: dict[str, Any] = {
        name: _bytes(one) if isinstance(one, str) else np.asarray(one) for name, one in arrays.items()
    }
    np.savez_compressed(file, **plain)
    return file.getvalue()


def unpack(data: bytes, what: str, *names: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file; a text is that of `text_of`.

    Raises:
        UserError: it is not whole, or has not these; `what` says what it should have been.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except _DAMAGED as error:
        raise UserError(f"this is no file of {what} ({error}); remove it and measure again") from error


def text_of(array: NDArray[Any]) -> str:
    """Return the text that an array of bytes holds."""
    return array.tobytes().decode("utf-8", "surrogatepass")


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
