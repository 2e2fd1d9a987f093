'''Read shards and their sidecars in step: each sample that has captions, with them beside its own members.

A sidecar (`captioners export RUN --to sidecar`) is a tar of KEY.syn.json alone, under the shard's name, in its order. A
sample without captions is in no sidecar and is passed over. Where nothing of this package is installed:

    import json, webdataset as wds

    def captioned(shards, sidecars):
        """Yield the samples of both, in step; a shard and its sidecar have the same place in both lists of files."""
        for shard, sidecar in zip(shards, sidecars, strict=True):
            captions = iter(wds.WebDataset([sidecar], shardshuffle=False))
            wanted = next(captions, None)
            for sample in wds.WebDataset([shard], shardshuffle=False):
                if wanted is not None and sample["__key__"] == wanted["__key__"]:
                    before = json.loads(sample.get("syn.json", "{}"))
                    merged = {**before, **json.loads(wanted["syn.json"])}
                    yield {**sample, "syn.json": json.dumps(merged).encode()}
                    wanted = next(captions, None)
            if wanted is not None:
                raise ValueError(f"{sidecar} is not of {shard}: {wanted['__key__']}")
'''

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from captioners.core.errors import NotFoundError, UserError
from captioners.data.grouping import Group, group_members
from captioners.data.inputs import File, find_inputs, open_file
from captioners.data.tar import TarReader
from captioners.reinforcement.contract_texts import read_object
from captioners.reinforcement.members import SYN
from captioners.reinforcement.mend import to_json


@dataclass(frozen=True)
class Joined:
    """A sample with its captions."""

    shard: str
    """Relative to the folder of shards."""
    key: str
    members: Mapping[str, bytes]
    """Extension -> bytes; `syn.json` holds the captions of both, where both have some."""


def joined(shards: str, sidecars: str) -> Iterator[Joined]:
    """Yield the samples of all shards that have a sidecar, shard after shard.

    Args:
        shards, sidecars: folders, here or in a store, or patterns; a sidecar has its shard's path within them.

    Raises:
        NotFoundError: nothing is there, or a sidecar's shard is not. UserError: a sidecar is damaged, does not fit its
            shard, or says captions of a key that the shard has already.
    """
    originals = find_inputs([shards], (".tar",), "tar shards")
    beside = find_inputs([sidecars], (".tar",), "sidecars")
    lost = [name for name in beside if name not in originals]
    if lost:
        some = ", ".join(lost[:3])
        raise NotFoundError(f"{sidecars}: {len(lost):,} sidecars have no shard in {shards} ({some}); name its folder")
    for name, sidecar in beside.items():
        for key, members in joined_shard(originals[name], sidecar):
            yield Joined(name, key, members)


def joined_shard(shard: File, sidecar: File) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield key and members of each sample of one shard that has captions in the sidecar."""
    with ExitStack() as stack:
        captions = _groups(TarReader(stack.enter_context(open_file(sidecar))), sidecar)
        reader = TarReader(stack.enter_context(open_file(shard)))
        wanted = next(captions, None)
        for group in group_members(reader):
            if wanted is None:
                return
            if not isinstance(group, Group) or group.key != wanted[0]:
                continue
            members = {name: reader.read(one) for name, one in group.members.items() if not one.unsafe}
            members[SYN] = _merged(f"{shard}: {group.key}", members.get(SYN), wanted[1])
            yield group.key, members
            wanted = next(captions, None)
        if wanted is not None:
            raise UserError(
                f"{sidecar}: {wanted[0]} comes in it, and in its shard {shard} not or earlier; export again"
            )


def _groups(reader: TarReader, name: File) -> Iterator[tuple[str, bytes]]:
    for group in group_members(reader):
        if not isinstance(group, Group) or SYN not in group.members:
            raise UserError(f"{name}: a damaged sidecar, or none: it holds more than captions; export it again")
        yield group.key, reader.read(group.members[SYN])


def _merged(name: str, before: bytes | None, ours: bytes) -> bytes:
    if before is None:
        return ours
    found = []
    for data in (before, ours):
        value, problem = read_object(name, data)
        if problem is not None:
            raise UserError(str(problem))
        found.append(value)
    if twice := found[0].keys() & found[1].keys():
        raise UserError(f"{name}: has {min(twice)} already, and so has its sidecar; export with another tag (tags=...)")
    return to_json(found[0] | found[1])
