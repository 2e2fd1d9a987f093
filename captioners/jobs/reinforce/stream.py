"""One shard as a stream: samples are read, decoded and augmented ahead, embedded in groups, and packed behind.

A group's crops are one flat list, and so are its captions; each sample takes its rows out again by counting. Threads
prepare the next groups and pack the last one while the teachers are at work; groups depend on the shard alone.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from captioners.core.progress import Clock
from captioners.data.raw_samples import RawSample
from captioners.data.source import Unreadable
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce import samples
from captioners.jobs.reinforce.samples import Prepared, UnfitError
from captioners.reinforcement.embeddings import Rows
from captioners.reinforcement.teachers import Ensemble, Pixels

_CHUNKS = 8
"""Batches of crops in a group, about: enough for threads to share, few enough to hold."""

T = TypeVar("T")
R = TypeVar("R")
Refused = dict[str, Any]
"""A quarantine record."""


@dataclass(frozen=True)
class Reinforced:
    """A sample that is done."""

    key: str
    members: dict[str, bytes]
    renewed: int
    """Stored embeddings that gave way to those of its captions as they are now."""


@dataclass
class ShardStream:
    """Reinforces the samples of shards, one shard after another."""

    ensemble: Ensemble
    recipe: ReinforceRecipe
    pool: ThreadPoolExecutor
    clock: Clock
    beat: Callable[[], None] = lambda: None
    images: int = field(default=0, init=False)
    """Pictures embedded so far."""
    captions: int = field(default=0, init=False)
    """Captions embedded so far."""

    def run(self, raws: Iterable[RawSample | Unreadable]) -> Iterator[Reinforced | Refused]:
        """Yield each sample of a shard in its order: with all its members, or why it has to stay out."""
        group = max(1, round(_CHUNKS * self.ensemble.batch / self.recipe.n_aug))
        prepared = self._waited(_ahead(self.pool, self._prepare, raws, group))
        joined = self._waited(_ahead(self.pool, self._join, _groups(prepared, group), 2))
        encoded = (one for many in joined for one in self._encode(*many))
        return self._waited(_ahead(self.pool, self._finish, encoded, group))

    def _prepare(self, raw: RawSample | Unreadable) -> Prepared | Refused:
        if isinstance(raw, Unreadable):
            return samples.record(raw.shard, raw.key, raw.index, raw.reason, raw.error, raw.offset)
        try:
            return samples.prepare(raw, self.recipe, self.ensemble.sizes)
        except samples.UNFIT as error:
            return samples.unfit(raw, error)

    def _join(self, group: list[Prepared | Refused]) -> tuple[list[Prepared | Refused], dict[int, Pixels]]:
        """Put the crops of a group into one list of each size, by samples; none where no sample has any."""
        crops = [one.crops for one in group if isinstance(one, Prepared) and one.crops]
        joined = {size: np.concatenate([one[size] for one in crops]) for size in self.ensemble.sizes} if crops else {}
        for one in crops:
            one.clear()
        return group, joined

    def _encode(
        self, group: list[Prepared | Refused], pixels: dict[int, Pixels]
    ) -> "list[tuple[Prepared, Rows | None, Rows] | Refused]":
        """Embed a group of samples; each comes back with the rows of its crops, if it has any, and of its captions."""
        good = [one for one in group if isinstance(one, Prepared)]
        with self.clock.at("encoding"):
            texts = self.ensemble.texts([text for one in good for text in one.texts]) if good else None
            images = self.ensemble.images(pixels) if pixels else None
        self.beat()
        self.images += len(good)
        crop = text = 0
        found: list[tuple[Prepared, Rows | None, Rows] | Refused] = []
        for one in group:
            if not isinstance(one, Prepared):
                found.append(one)
                continue
            assert texts is not None
            mine = None
            if not one.known:
                assert images is not None
                mine, crop = images[crop : crop + self.recipe.n_aug], crop + self.recipe.n_aug
            found.append((one, mine, texts[text : text + len(one.texts)]))
            text += len(one.texts)
        self.captions += text
        return found

    def _finish(self, given: "tuple[Prepared, Rows | None, Rows] | Refused") -> Reinforced | Refused:
        if isinstance(given, dict):
            return given
        one, images, texts = given
        try:
            found = samples.finish(one, images, texts, self.recipe, self.ensemble.dims)
        except UnfitError as error:
            return samples.unfit(one.raw, error)
        return Reinforced(one.raw.key, found.members, found.renewed)

    def _waited(self, found: Iterator[T]) -> Iterator[T]:
        """Yield the same, counting the time until each comes as waiting."""
        while True:
            with self.clock.at("waiting"):
                one = next(found, None)
            if one is None:
                return
            yield one


def _ahead(pool: ThreadPoolExecutor, job: Callable[[T], R], given: Iterable[T], most: int) -> Iterator[R]:
    """Yield what `job` makes of each thing, in their order, with up to `most` being made ahead."""
    things = iter(given)
    doing: deque[Future[R]] = deque()
    try:
        while True:
            doing.extend(pool.submit(job, thing) for thing in islice(things, most - len(doing)))
            if not doing:
                return
            yield doing.popleft().result()
    finally:
        for future in doing:
            future.cancel()


def _groups(things: Iterator[T], size: int) -> Iterator[list[T]]:
    while group := list(islice(things, size)):
        yield group
