"""The two sides of a join: a set of tar shards whose samples have an identity, and what became of each of them."""

import json
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO

from captioners.core.errors import UserError
from captioners.data.grouping import Group, Stray, group_members
from captioners.data.inputs import find_files, open_file
from captioners.data.tar import COMPRESSED_SUFFIXES, Fault, TarReader

By = Literal["uid", "key", "image"]
PARTS = ("joined", "missing", "duplicate", "no_id", "unfit")
_OPEN_FILES = 32
_MOST_EXAMPLES = 3


@dataclass
class Side:
    """One of the two sets: read = joined + missing + duplicate + no_id + unfit."""

    read: int = 0
    joined: int = 0
    missing: int = 0
    """The other set does not have it."""
    duplicate: int = 0
    """Its identity was there before; the first one stands."""
    no_id: int = 0
    """It does not say its uid, or has no image."""
    unfit: int = 0
    """Cannot be read or written: a link, a hole, a key that readers would split."""
    faults: int = 0
    """Of whole shards that end early, or members that belong to no sample; in no sum."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Reason -> the first few, as SHARD: KEY."""


class ShardSet:
    """A set of tar shards."""

    def __init__(self, name: Literal["a", "b"], given: str, by: By) -> None:
        """Find the shards. Raises NotFoundError, and UserError for a compressed one."""
        self.name, self.given, self._by = name, given, by
        self.side = Side()
        self.files = find_files([given], (".tar", *COMPRESSED_SUFFIXES), "tar shards")
        for file in self.files:
            if file.lower().endswith(COMPRESSED_SUFFIXES):
                raise UserError(f"{file}: a compressed tar, inside which nothing has a place; unpack it to .tar")

    def samples(self, shard: str, left: "LeftOut") -> Iterator[tuple[Group, str]]:
        """Yield each sample of a shard with its identity; what has none, or is unfit, is counted and noted here."""
        with open_file(self.files[shard]) as file:
            reader = TarReader(file)
            for group in group_members(reader):
                if not isinstance(group, Group):
                    self._fault(group, shard, left)
                    continue
                self.side.read += 1
                bad = next(
                    (member for member in group.members.values() if member.unsafe or member.offset is None), None
                )
                if bad is not None:
                    self.lose("unfit", shard, group.key, f"{bad.name}: {bad.unsafe or 'a sparse file'}", left)
                elif identity := self._identity(group, reader):
                    yield group, identity
                else:
                    said = f"nothing says its {self._by}; it has .{', .'.join(group.members)}"
                    self.lose("no_id", shard, group.key, said, left)

    def lose(self, reason: str, shard: str, key: str, error: str, left: "LeftOut") -> None:
        """Count a sample that is not joined, and note it."""
        setattr(self.side, reason, getattr(self.side, reason) + 1)
        self._note(reason, shard, key, error, left)

    def _fault(self, found: Fault | Stray, shard: str, left: "LeftOut") -> None:
        self.side.faults += 1
        if isinstance(found, Fault):
            self._note(found.reason, shard, "", found.error, left)
        else:
            self._note("stray", shard, found.member.name, found.member.unsafe, left)

    def _note(self, reason: str, shard: str, key: str, error: str, left: "LeftOut") -> None:
        examples = self.side.examples.setdefault(reason, [])
        if len(examples) < _MOST_EXAMPLES:
            examples.append(f"{shard}: {key}" if key else shard)
        left.write({"set": self.name, "shard": shard, "key": key, "reason": reason, "error": error})

    def _identity(self, group: Group, reader: TarReader) -> str:
        if self._by == "key":
            return group.key
        image = group.image(None) if self._by == "image" else None
        if image is not None:
            return sha256(reader.read(group.members[image])).hexdigest()
        about: Any = {}
        if "json" in group.members:
            with suppress(ValueError, RecursionError, UserError):
                about = json.loads(reader.read(group.members["json"]))
        # A set without its pictures may say what they were.
        name = "uid" if self._by == "uid" else "sha256"
        return str(about.get(name) or "") if isinstance(about, dict) else ""


class LeftOut:
    """The list of samples that are not joined; without a file, nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; the file begins with the first one."""
        if self._path is not None:
            self._file = self._file or self._path.open("w", encoding="utf-8")
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()


class OpenShards:
    """Reads bytes anywhere in a set's shards, of which a few are open at a time."""

    def __init__(self, given: ShardSet) -> None:
        self._given = given
        self._open: OrderedDict[str, BinaryIO] = OrderedDict()

    def read(self, shard: str, offset: int | None, size: int) -> bytes:
        """Return bytes; UserError where the file ends before."""
        assert offset is not None  # of a sample that is fit
        if shard not in self._open:
            self._open[shard] = open_file(self._given.files[shard])
        self._open.move_to_end(shard)
        while len(self._open) > _OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        file = self._open[shard]
        file.seek(offset)
        data = file.read(size)
        if len(data) != size:
            raise UserError(f"{shard}: ends before byte {offset + size:,}; was it changed meanwhile?")
        return data

    def close(self) -> None:
        """Close what is open."""
        for file in self._open.values():
            file.close()
