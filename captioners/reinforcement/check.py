"""Look through a shard for every trap of the contract: those of its samples, and those between them."""

from collections.abc import Iterator
from typing import BinaryIO

from captioners.core.errors import UserError
from captioners.data.tar import Fault, Member, TarReader
from captioners.reinforcement.contract import Problem, problems
from captioners.reinforcement.members import problem_of_name
from captioners.reinforcement.mend import plain_name


class ShardCheck:
    """The traps of one shard; iterate over it once."""

    def __init__(self, file: BinaryIO) -> None:
        self._reader = TarReader(file)
        self._seen: dict[str, set[str]] = {}
        self.samples = 0
        """Different samples so far."""

    def __iter__(self) -> Iterator[Problem]:
        """Yield traps in the order of the shard; nothing is raised but what disk or store raise."""
        key, group = "", dict[str, Member]()
        for member in self._reader:
            if isinstance(member, Fault):
                what = "the reader gives up the whole shard" if member.reason != "empty" else "there is nothing to read"
                yield Problem(member.reason, f"byte {member.offset:,}", f"{member.error}: {what}", "write it again")
                break
            name = member.stored_name
            if member.unsafe:
                yield Problem("unsafe_name", name, f"{member.unsafe}; readers differ in it", "take it out of the shard")
                continue
            own, extension = plain_name(name)
            if name != f"{own}.{extension}" and (problem := problem_of_name(name)) is not None:
                yield problem
            if not own or not extension:
                continue
            if own != key and group:
                yield from self._sample(key, group)
                group = {}
            key = own
            if extension in group:
                what = "is there twice, and the second one stands"
                yield Problem("duplicate_member", name, what, "take one of them out")
            group[extension] = member
        if group:
            yield from self._sample(key, group)
        if not self.samples:
            yield Problem("empty", "", "the shard holds no sample", "remove it, or write it again")

    def _sample(self, key: str, group: dict[str, Member]) -> Iterator[Problem]:
        before = self._seen.setdefault(key, set())
        self.samples += not before
        if before & group.keys():
            what = "was there before: two samples of one key"
            yield Problem("duplicate_key", f"{key}.{min(before & group.keys())}", what, "rename or remove one")
        elif before:
            what = f"lies apart from the other members of {key}: the reader makes two samples of them"
            yield Problem("not_contiguous", f"{key}.{next(iter(group))}", what, "write a sample's members together")
        before.update(group)
        try:
            members = {extension: self._reader.read(member) for extension, member in group.items()}
        except UserError as error:
            yield Problem("unreadable", f"{key}.{next(iter(group))}", str(error), "take the sample out")
            return
        found = problems(key, members)
        if before != group.keys():  # what one half lacks may be in the other
            found = [one for one in found if one.trap not in _OF_WHOLE]
        yield from found


_OF_WHOLE = ("no_image", "no_text", "no_syn", "no_paug", "no_emb", "emb_missing")
