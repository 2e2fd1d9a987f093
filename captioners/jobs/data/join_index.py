"""An index of samples on disk: identity -> where its members lie, so that sets of any size join in little memory."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from captioners.data.tar import Member

_CACHE_KB = 64_000
_COMMIT_EVERY = 100_000


@dataclass(frozen=True, kw_only=True)
class Found:
    """A sample of the index."""

    shard: str
    key: str
    members: Mapping[str, tuple[int, int]]
    """Extension -> where its bytes begin in the shard, and how many there are."""


class JoinIndex:
    """Samples of set B by identity, and which identities set A has had; a scratch file, gone when it is closed."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)
        # Nobody else reads it and nobody goes on with it: no journal, no waiting for the disk.
        self._database.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{_CACHE_KB}; PRAGMA temp_store=FILE;"
            "CREATE TABLE b (id TEXT PRIMARY KEY, shard TEXT, key TEXT, members TEXT) WITHOUT ROWID;"
            "CREATE TABLE a (id TEXT PRIMARY KEY) WITHOUT ROWID;"
        )
        self._writes = 0

    def add(self, identity: str, shard: str, key: str, members: Mapping[str, Member]) -> bool:
        """Enter a sample of B; False if this identity was there before."""
        places = json.dumps({extension: (member.offset, member.size) for extension, member in members.items()})
        return self._insert("INSERT OR IGNORE INTO b VALUES (?, ?, ?, ?)", identity, shard, key, places)

    def meet(self, identity: str) -> bool:
        """Note that A has a sample; False if it had one of this identity before."""
        return self._insert("INSERT OR IGNORE INTO a VALUES (?)", identity)

    def find(self, identity: str) -> Found | None:
        """Return B's sample of an identity."""
        row = self._database.execute("SELECT shard, key, members FROM b WHERE id = ?", (identity,)).fetchone()
        return Found(shard=row[0], key=row[1], members=json.loads(row[2])) if row else None

    def missed(self) -> Iterator[tuple[str, Found]]:
        """Yield identity and place of B's samples that A never met, by shard and key."""
        met = "SELECT 1 FROM a WHERE a.id = b.id"
        query = f"SELECT id, shard, key, members FROM b WHERE NOT EXISTS ({met}) ORDER BY shard, key"  # noqa: S608
        for identity, shard, key, members in self._database.execute(query):
            yield identity, Found(shard=shard, key=key, members=json.loads(members))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _insert(self, statement: str, *values: str) -> bool:
        fresh = self._database.execute(statement, values).rowcount == 1
        self._writes += 1
        if self._writes % _COMMIT_EVERY == 0:
            self._database.commit()
        return fresh
