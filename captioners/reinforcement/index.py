"""Where the samples of shards lie: one pass over the tars' headers, then any sample in any order by one read.

So that a training run's order depends on its seed alone, and not on how many processes read.
"""

import io
from array import array
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from captioners.core.errors import UserError
from captioners.data.grouping import Group, group_members
from captioners.data.inputs import File, open_file
from captioners.data.tar import LARGEST_MEMBER, Fault, Member, TarReader
from captioners.data.texts import BadSampleError

_END = bytes(1024)  # two blocks of zeros, as a tar ends


class Skipped(NamedTuple):
    """A sample, or the rest of a shard, that is not trained on, and why."""

    shard: str
    key: str
    """Empty for a shard's rest."""
    reason: str
    """A word, as the traps of `captioners verify --target mobileclip-dr` are named."""
    error: str
    """What is wrong and what to do."""


class ShardIndex:
    """The samples of plain tars, numbered in order; 24 bytes each in memory.

    Args:
        files: shard name -> file, as `data.inputs.find_inputs` gives.
    """

    def __init__(self, files: Mapping[str, File]) -> None:
        self._shards = list(files.items())
        self.skipped: list[Skipped] = []
        """What is broken at the level of tars; samples before it are whole and stay."""
        spans = array("q")
        for number, (name, file) in enumerate(self._shards):
            with open_file(file) as opened:
                for found in group_members(TarReader(opened)):
                    if isinstance(found, Fault):
                        self.skipped.append(Skipped(name, "", found.reason, found.error))
                    elif isinstance(found, Group):
                        members = list(found.members.values())
                        spans.extend((number, members[0].span[0], members[-1].span[1]))
        self._spans = np.frombuffer(spans, np.int64).reshape(-1, 3) if spans else np.empty((0, 3), np.int64)

    def __len__(self) -> int:
        return len(self._spans)

    def shard_of(self, number: int) -> str:
        """Return the name of the shard that sample `number` lies in."""
        return self._shards[int(self._spans[number, 0])][0]

    def read(self, number: int) -> tuple[str, dict[str, bytes]]:
        """Return the key and, by extension in small letters, the members of sample `number`.

        Raises BadSampleError for members that are not to be read, UserError or StorageError where the file is gone.
        """
        shard, start, end = (int(value) for value in self._spans[number])
        if end - start > LARGEST_MEMBER:
            raise BadSampleError("too_large", f"{end - start:,} bytes, more than {LARGEST_MEMBER:,}; take it out")
        with open_file(self._shards[shard][1]) as file:
            file.seek(start)
            reader = TarReader(io.BytesIO(file.read(end - start) + _END))
        group = next((found for found in group_members(reader) if isinstance(found, Group)), None)
        if group is None:
            name = self.shard_of(number)
            raise UserError(f"{name}: changed while it was read; leave shards alone while they are trained on")
        return group.key, {extension: _read(reader, member) for extension, member in group.members.items()}


def _read(reader: TarReader, member: Member) -> bytes:
    try:
        return reader.read(member)
    except UserError as error:
        raise BadSampleError("unsafe", str(error)) from None
