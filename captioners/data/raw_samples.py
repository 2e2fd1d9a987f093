"""The samples of a tar with all their members as bytes: for what adds members and leaves the others as they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from captioners.core.errors import UserError
from captioners.data.grouping import Group, Stray, group_members
from captioners.data.source import Unreadable
from captioners.data.tar import Fault, TarReader, check_key


@dataclass(frozen=True)
class RawSample:
    """One sample of a shard."""

    shard: str
    key: str
    index: int
    """Its place in the shard, from 0; `Unreadable` ones count, too."""
    members: dict[str, bytes]
    """By extension (small letters), in the order of the tar."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.shard}: {self.key}"


def raw_samples(file: BinaryIO, shard: str) -> Iterator[RawSample | Unreadable]:
    """Stream the samples of an open tar in order; `shard` is what rows and messages call it."""
    reader, seen, index = TarReader(file), set[str](), 0

    def bad(reason: str, error: str, key: str, offset: int | None) -> Unreadable:
        return Unreadable(shard=shard, key=key, index=index, reason=reason, error=f"{shard}: {error}", offset=offset)

    for group in group_members(reader):
        if isinstance(group, Fault):
            yield bad(group.reason, group.error, "", group.offset)
            return
        if isinstance(group, Stray):
            yield bad("unsafe_name", f"{group.member.name}: {group.member.unsafe}", group.member.name, None)
        elif group.key in seen:
            what = "this key was there before; readers would make two samples of it: write the tar anew"
            yield bad("duplicate_key", f"{group.key}: {what}", group.key, _start(group))
        else:
            seen.add(group.key)
            try:
                check_key(group.key)
                members = {extension: reader.read(member) for extension, member in group.members.items()}
            except UserError as error:
                unsafe = any(member.unsafe for member in group.members.values())
                yield bad("unsafe_name" if unsafe else "unreadable", str(error), group.key, _start(group))
            else:
                yield RawSample(shard, group.key, index, members)
        index += 1
    if index == 0:
        yield bad("empty", "holds no samples; remove it, or write it again", "", 0)


def _start(group: Group) -> int | None:
    return next(iter(group.members.values())).offset
