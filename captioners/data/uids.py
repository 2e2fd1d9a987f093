"""A set of DataComp uids in a file, as DFN-2B is published: sorted 128-bit numbers, read by mapping, never whole."""

import re
from pathlib import Path

import numpy as np

from captioners.core.errors import UserError

_DTYPE = np.dtype("u8,u8")
_UID = re.compile(r"[0-9a-fA-F]{32}")


class UidSet:
    """Whether a uid (32 hexadecimal digits) is in a `.npy` of (high, low) pairs of 64 bits, sorted."""

    def __init__(self, path: Path) -> None:
        """Map the file. Raises UserError for one that is not there, or holds something else."""
        try:
            self._uids = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"uids: {path} cannot be read as .npy ({error}); copy or download it again") from None
        if self._uids.dtype != _DTYPE or self._uids.ndim != 1:
            what = f"{self._uids.dtype} of {self._uids.ndim} axes"
            raise UserError(f"uids: {path} holds {what}, not one row of pairs of uint64 (u8,u8)")
        if len(self._uids) > 1 and self._uids[0].item() > self._uids[-1].item():
            raise UserError(f"uids: {path} is not sorted; write it again by np.sort")

    def __len__(self) -> int:
        """Return how many uids there are."""
        return len(self._uids)

    def __contains__(self, uid: object) -> bool:
        """Whether a uid is one of them; ValueError for what is none."""
        wanted = np.array([halves_of(uid)], dtype=_DTYPE)
        place = int(np.searchsorted(self._uids, wanted)[0])
        return place < len(self._uids) and bool(self._uids[place] == wanted[0])


def halves_of(uid: object) -> tuple[int, int]:
    """Return a uid's upper and lower 64 bits; ValueError for what is none.

    >>> halves_of("0000000000000001000000000000000f")
    (1, 15)
    """
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise ValueError(f"{uid!r:.40} is no uid of 32 hexadecimal digits")
    return int(uid[:16], 16), int(uid[16:], 16)
