"""Samples before their pictures are read: an entry of an annotation file, and a source made of a list of entries."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import PurePosixPath
from typing import Any

from captioners.core.errors import NotFoundError
from captioners.data.inputs import changed
from captioners.data.source import Sample, Shard, Unreadable
from captioners.data.texts import BadSampleError, printable

ENTRIES = 1000
"""Entries of a shard."""

Loaded = tuple[bytes, tuple[str, ...], dict[str, Any]]
"""The image's bytes, its captions and its meta."""


@dataclass(frozen=True)
class Entry:
    """One sample, named, with what reads the rest of it."""

    key: str
    name: str
    """What messages call it: 'captions_val2017.json: 000000397133.jpg'."""
    load: Callable[[], Loaded]
    """Raises BadSampleError for what cannot be handed out."""
    says: Any = None
    """What its file says of it (JSON-able): a shard whose entries say something else has changed."""
    captions: Callable[[], tuple[str, ...]] | None = None
    """Reads its captions without its picture, where `says` does not cover them; raises BadSampleError, as `load`."""


def samples_of(shard: Shard, start: int, entries: Iterable[Entry]) -> Iterator[Sample | Unreadable]:
    """Yield what entries come to, from number `start` on; a key that was there before is `duplicate_key`.

    Where `entries` itself raises BadSampleError, its file is broken there: one row of the shard says so, the last.
    """
    seen: set[str] = set()
    index = -1
    try:
        for index, entry in enumerate(entries):
            again = entry.key in seen
            seen.add(entry.key)
            if index >= start:
                yield _row(shard, index, entry, again)
    except BadSampleError as error:
        if index + 1 >= start:
            yield Unreadable(shard=shard.path, key="", index=index + 1, reason=error.reason, error=str(error))


def _row(shard: Shard, index: int, entry: Entry, again: bool) -> Sample | Unreadable:
    try:
        if again:
            raise BadSampleError("duplicate_key", f"the key {entry.key!r} was there before; keys must differ")
        image, captions, meta = entry.load()
    except BadSampleError as error:
        said = f"{entry.name}: {error}"
        return Unreadable(shard=shard.path, key=entry.key, index=index, reason=error.reason, error=said)
    return Sample(
        shard=shard.path, key=entry.key, index=index, image=image, captions=captions, meta=meta, name=entry.name
    )


def image_of(shard: Shard, key: str, entries: Iterable[Entry]) -> bytes:
    """Return one picture by its key; raise NotFoundError where there is none."""
    entry = next((entry for entry in entries if entry.key == key), None)
    if entry is None:
        raise NotFoundError(f"{shard.path}: has no image of the key {key!r} any more")
    try:
        return entry.load()[0]
    except BadSampleError as error:
        raise NotFoundError(f"{entry.name}: {error}") from None


def refused(reason: str, error: str) -> Callable[[], Loaded]:
    """Return what an entry loads that is known to be bad beforehand."""

    def load() -> Loaded:
        raise BadSampleError(reason, error)

    return load


def keys_of(names: Iterable[str]) -> list[str]:
    """Return a key for each file: its path without suffix, or with it where a file before took that.

    >>> keys_of(["a/1.jpg", "a/1.png", "b.jpg"])
    ['a/1', 'a/1.png', 'b']
    """
    keys: dict[str, None] = {}
    for name in names:
        shown = printable(name)
        key = str(PurePosixPath(shown).with_suffix("")) if PurePosixPath(shown).name else shown
        number = 2
        if key in keys:
            key = shown
        while key in keys:
            key, number = f"{shown}.{number}", number + 1
        keys[key] = None
    return list(keys)


class ListedSource:
    """A source whose entries all fit in memory: annotations without their pictures.

    A shard is a run of up to 1,000 entries, known by what they say: entries appended later make new shards and change
    no old one. See `captioners.data.source.Source`.
    """

    def __init__(
        self, name: str, read: Callable[[], Sequence[Entry]], notes: Callable[[], Sequence[str]] = tuple
    ) -> None:
        """`name` is what shards are called after; `notes` is asked after `read` for what a person should be told."""
        self._name, self._read, self._notes = name, read, notes
        self._held: Sequence[Entry] | None = None

    def describe(self) -> tuple[str, ...]:
        """Return sentences about what was found; see `captioners.data.source.describe`."""
        self._entries()
        return tuple(self._notes())

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return all shards: those frozen first and unchanged, then the entries that no frozen shard has."""
        entries = self._entries()
        found: list[Shard] = []
        first = 0
        for old in frozen:
            same = self._shard(len(found), first, old.count or 0)
            if old.stamp != same.stamp or old.where != same.where:
                raise changed(old.path, "its annotations say something else")
            found.append(old)
            first += old.count or 0
        for start in range(first, len(entries), ENTRIES):
            found.append(self._shard(len(found), start, min(ENTRIES, len(entries) - start)))
        if not found:
            raise NotFoundError(f"{self._name}: holds no samples; check its files and what is chosen of them")
        return found

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its entry number `start`."""
        return samples_of(shard, start, self._of(shard))

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:  # noqa: ARG002
        """Return the bytes of one picture by its key."""
        return image_of(shard, key, self._of(shard))

    def unstamped(self, shard: Shard) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield (key, captions) of the entries whose captions its stamp does not cover; see `data.source.unstamped`."""
        for entry in self._of(shard):
            if entry.captions is not None:
                with suppress(BadSampleError):
                    yield entry.key, entry.captions()

    def _entries(self) -> Sequence[Entry]:
        if self._held is None:
            self._held = self._read()
        return self._held

    def _of(self, shard: Shard) -> Sequence[Entry]:
        first = shard.where["first"]
        return self._entries()[first : first + (shard.count or 0)]

    def _shard(self, number: int, first: int, count: int) -> Shard:
        said = [[entry.key, entry.says] for entry in self._entries()[first : first + count]]
        text = json.dumps(said, ensure_ascii=True).encode()
        stamp = blake2b(text, digest_size=16).hexdigest()
        path = f"{self._name}#{number:05d}"
        return Shard(path=path, size=len(text), stamp=stamp, count=len(said), where={"first": first})
