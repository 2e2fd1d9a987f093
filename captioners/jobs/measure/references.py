"""What people wrote of the images of a run: its own source's captions, or another source's under the same keys."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeVar

from captioners.core.errors import UserError
from captioners.data.caption_sets import Group, OpenSet
from captioners.data.given import given_source
from captioners.data.source import Sample, Shard, Source, Unreadable
from captioners.data.source import unstamped as unstamped_of
from captioners.jobs.measure.gauge import Fresh

T = TypeVar("T")
OWN = "own"
"""What came with the run's own images."""


@dataclass(frozen=True)
class References(Fresh):
    """References by their images' keys."""

    given: str
    """`own`, a path, or a source as in a recipe."""

    @cached_property
    def _source(self) -> Source:
        return given_source(self.given, "--references")[0].open()

    @cached_property
    def _shards(self) -> dict[str, Shard]:
        return {shard.path: shard for shard in self._source.shards()}

    def identity(self, opened: OpenSet) -> Mapping[str, Any]:
        """Return what they are, as far as it can be told without reading pictures: JSON-able.

        The drawn world has no bytes, but a count. Captions that no stamp covers, those in files beside pictures, are
        read, once.
        """
        kept: dict[str, Mapping[str, Any]] = self.__dict__.setdefault("_identities", {})
        which = opened.first if self.given == OWN else ""
        if which not in kept:
            kept[which] = self._identity(opened)
        return kept[which]

    def _identity(self, opened: OpenSet) -> Mapping[str, Any]:
        if self.given == OWN:
            inputs = opened.runs[opened.first].inputs()
            stamps = [f"{shard['path']} {shard['size'] or shard['count']} {shard['stamp']}" for shard in inputs]
            unstamped = _own(texts for shard in inputs for texts in opened.pictures.unstamped(str(shard["path"])))
        else:
            stamps = [f"{shard.path} {shard.size or shard.count} {shard.stamp}" for shard in self._shards.values()]
            unstamped = (texts for shard in self._shards.values() for texts in unstamped_of(self._source, shard))
        found = {"references": self.given, "shards": sha256("\n".join(stamps).encode()).hexdigest()}
        told = [[key, texts] for key, texts in unstamped if texts]
        return found | ({"texts": sha256(json.dumps(told).encode()).hexdigest()} if told else {})

    def of(self, opened: OpenSet, group: Group) -> Mapping[str, tuple[str, ...]]:
        """Return key -> the references of a group's images, those that have any.

        A source with a shard of the same name is read there; else keys alone have to match, and to be different.

        Raises:
            UserError: a key stands in two shards of the source. NotFoundError: a source is not there any more.
        """
        if self.given == OWN:
            return dict(_told(_own(opened.samples(group))))
        if group.shard in self._shards:
            return self._of_shard(group.shard)
        return self._by_key

    def some(self, opened: OpenSet, most: int) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield (shard and key, references) of whole shards, those first whose names hash lowest, to `most` images."""
        if self.given == OWN:
            names = [str(shard["path"]) for shard in opened.runs[opened.first].inputs()]
        else:
            names = list(self._shards)
        count = 0
        for name in sorted(names, key=lambda name: sha256(name.encode()).hexdigest()):
            if count >= most:
                return
            own = self.given == OWN
            samples = _own(opened.pictures.samples(name)) if own else self._source.samples(self._shards[name])
            for key, texts in _told(samples):
                count += 1
                yield f"{name}\0{key}", texts

    def _of_shard(self, name: str) -> Mapping[str, tuple[str, ...]]:
        # Groups come shard after shard, so the last one is kept.
        kept: dict[str, Mapping[str, tuple[str, ...]]] = self.__dict__.setdefault("_kept", {})
        if name not in kept:
            kept.clear()
            kept[name] = dict(_told(self._source.samples(self._shards[name])))
        return kept[name]

    @cached_property
    def _by_key(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for shard in self._shards.values():
            for key, texts in _told(self._source.samples(shard)):
                if key in found and found[key] != texts:
                    raise UserError(
                        f"--references {self.given}: key {key} stands there twice, with different captions, and its "
                        "shards are not called as the run's; give a source whose shards are"
                    )
                found[key] = texts
        return found


def _own(found: Iterator[T]) -> Iterator[T]:
    try:
        yield from found
    except UserError as error:
        raise UserError(f"--references {OWN}: {error}") from None


def _told(samples: Iterator[Sample | Unreadable]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for sample in samples:
        if isinstance(sample, Sample) and (texts := tuple(text for text in sample.captions if text.strip())):
            yield sample.key, texts
