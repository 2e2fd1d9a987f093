"""Join two sets of tar shards by uid, by key or by the image's digest: each sample of A gets the members that B adds.

    OUT/...                 A's shards under their own names and in their order, samples that B has, members of both
    OUT/sizes.json          {"00000.tar": samples, ...}
    OUT/left_out.jsonl      every sample that is not joined, of either set, with its reason; only if there is any

So a release without pictures finds its pictures again, whatever the order and the shards of either set. Where both have
a member of one name, A's stands. Without OUT nothing is written but the counts. The folder appears whole or not at all.
"""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from captioners.core.errors import UserError
from captioners.data.grouping import Group
from captioners.data.inputs import input_root
from captioners.data.tar import TarWriter
from captioners.jobs.data.join_index import Found, JoinIndex
from captioners.jobs.data.join_sides import PARTS, By, LeftOut, OpenShards, ShardSet, Side


@dataclass
class Joined:
    """What came of it."""

    by: By
    a: Side
    b: Side
    sizes: dict[str, int] = field(default_factory=dict)
    """Written shard -> samples."""
    added: Counter[str] = field(default_factory=Counter)
    """Extension -> samples that B gave it to."""
    differ: Counter[str] = field(default_factory=Counter)
    """Extension -> samples where both have it and differ; A's stands."""


def data_join(
    a: str, b: str, out: Path | None = None, by: By = "uid", say: Callable[[str], None] = lambda _: None
) -> Joined:
    """Join set B to set A; `say` hears of every shard.

    Raises:
        NotFoundError: nothing is there. UserError: `out` is not free or lies in a set, or not one sample is in both.
    """
    sides = ShardSet("a", a, by), ShardSet("b", b, by)
    if out is None:
        with tempfile.TemporaryDirectory(prefix="captioners-join-") as scratch:
            return _Join(*sides, by, None).run(Path(scratch), say)
    out = out.expanduser().absolute()
    _check_free(out, (a, b))
    part = out.with_name(f".{out.name}.{uuid4().hex[:8]}.part")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        with tempfile.TemporaryDirectory(prefix=".index-", dir=part) as scratch:
            found = _Join(*sides, by, part).run(Path(scratch), say)
        (part / "sizes.json").write_text(json.dumps(found.sizes, indent=2) + "\n", encoding="utf-8")
        if out.exists():
            out.rmdir()  # empty, as was made sure of
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return found


class _Join:
    """One join at work."""

    def __init__(self, a: ShardSet, b: ShardSet, by: By, part: Path | None) -> None:
        self._a, self._b, self._part = a, b, part
        self._found = Joined(by, a.side, b.side)
        self._left = LeftOut(part / "left_out.jsonl" if part is not None else None)

    def run(self, scratch: Path, say: Callable[[str], None]) -> Joined:
        """Index B, then go through A, then tell what of B was never met."""
        with closing(JoinIndex(scratch / "index.sqlite")) as index, closing(self._left):
            for shard in self._b.files:
                for group, identity in self._b.samples(shard, self._left):
                    if not index.add(identity, shard, group.key, group.members):
                        self._b.lose("duplicate", shard, group.key, f"{identity} was there before", self._left)
            for shard in self._a.files:
                self._shard(shard, index)
                say(f"{shard}: {self._a.side.joined:,} of {self._a.side.read:,} samples joined so far")
            for identity, one in index.missed():
                said = f"{identity} is not in {self._a.given}"
                self._b.lose("missing", one.shard, one.key, said, self._left)
        for side in (self._a.side, self._b.side):
            if side.read != sum(getattr(side, name) for name in PARTS):
                raise AssertionError(f"the sums of a join do not balance: {side}")
        if not self._a.side.joined:
            raise UserError(self._nothing())
        return self._found

    def _shard(self, shard: str, index: JoinIndex) -> None:
        """Join one shard of A."""
        with ExitStack() as stack:
            tar: TarWriter | None = None
            bytes_of = [stack.enter_context(closing(OpenShards(side))) for side in (self._a, self._b)]
            for group, identity in self._a.samples(shard, self._left):
                if not index.meet(identity):
                    self._a.lose("duplicate", shard, group.key, f"{identity} was there before", self._left)
                    continue
                match = index.find(identity)
                if match is None:
                    said = f"{identity} is not in {self._b.given}"
                    self._a.lose("missing", shard, group.key, said, self._left)
                    continue
                if self._part is not None:
                    if tar is None:
                        (self._part / shard).parent.mkdir(parents=True, exist_ok=True)
                        tar = stack.enter_context(TarWriter(self._part / shard))
                    if problem := self._write(tar, shard, group, match, bytes_of):
                        self._a.lose("unfit", shard, group.key, problem, self._left)
                        self._b.lose("unfit", match.shard, match.key, f"in A: {problem}", self._left)
                        continue
                    self._found.sizes[shard] = self._found.sizes.get(shard, 0) + 1
                self._a.side.joined += 1
                self._b.side.joined += 1

    def _write(self, tar: TarWriter, shard: str, group: Group, match: Found, bytes_of: list[OpenShards]) -> str:
        """Write a joined sample; say why it cannot be written, or nothing."""
        mine = {name: bytes_of[0].read(shard, one.offset, one.size) for name, one in group.members.items()}
        theirs = {name: bytes_of[1].read(match.shard, *place) for name, place in match.members.items()}
        try:
            tar.add(group.key, theirs | mine)
        except UserError as error:
            return str(error)
        self._found.added.update(name for name in theirs if name not in mine)
        self._found.differ.update(name for name, data in theirs.items() if name in mine and mine[name] != data)
        return ""

    def _nothing(self) -> str:
        told = []
        for one in (self._a, self._b):
            counts = ", ".join(f"{getattr(one.side, name):,} {name}" for name in PARTS if getattr(one.side, name))
            example = next(iter(one.side.examples.values()), [""])[0]
            told.append(f"{one.given} has {one.side.read:,} ({'; '.join(filter(None, (counts, example))) or 'none'})")
        other = "key" if self._found.by != "key" else "uid"
        return f"not one sample is in both by {self._found.by}: {' and '.join(told)}; try --by {other}"


def _check_free(out: Path, given: tuple[str, str]) -> None:
    for one in given:
        root = input_root([one])
        if not Path(one).expanduser().is_file() and out.resolve().is_relative_to(root.resolve()):
            raise UserError(f"{out}: lies inside the input {root}; choose another folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: something is there already; name a new folder")
