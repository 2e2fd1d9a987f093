"""Self-retrieval: which images are found again by their captions, in a pool; and how far apart any two captions are.

The pool is the 1,000 images whose names hash lowest: enough for a number, and no more work for a larger set.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from captioners.core.parquet_bytes import read_parquet
from captioners.core.storage import Place
from captioners.data.caption_sets import CaptionedImage, Group, OpenSet
from captioners.jobs.measure.gauge import PARTIAL, Ids, Partial, Shown, stored, to_parquet
from captioners.jobs.measure.judge import Judge
from captioners.jobs.measure.words_gauge import some_of, versions
from captioners.metrics.embedded import RandomDistance
from captioners.metrics.retrieval import POOL, mean_recall, retrieve, union_recall

if TYPE_CHECKING:
    import pyarrow

_KS = (1, 5)


@dataclass(frozen=True)
class Pool:
    """What a pool of images gave."""

    table: "pyarrow.Table"
    """A row for each image of the pool, with a column for each recall."""
    random: float
    """Mean 1 - cosine of captions of different images."""

    @property
    def shown(self) -> list[Shown]:
        """The metrics, which say how large the pool is."""
        images = self.table.num_rows
        return [
            *(Shown(mean_recall(k, images), (f"mean_{k}",)) for k in _KS),
            *(Shown(union_recall(k, images), (f"union_{k}",)) for k in _KS),
        ]


def pool_of(opened: OpenSet, groups: Iterable[Group], ids: Ids, judge: Judge, m: int, seed: int) -> Pool | None:
    """Measure the pool of a set, or find it measured; None where no picture of it can be read.

    Args:
        ids: of the images that count. m: captions of each image; of more, those that its name draws.
    """
    lowest = np.sort(ids)[:POOL]
    told = {
        "captions": opened.fingerprint, "ids": sha256(lowest.tobytes()).hexdigest(), "judge": judge.digest, "m": m,
        "seed": seed, "metrics": versions([of(k, POOL) for of in (mean_recall, union_recall) for k in _KS]),
    }  # fmt: skip
    digest = sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    place, name = opened.runs[opened.first].place, f"measures/retrieval/{digest}"
    partial = f"measures/retrieval/{PARTIAL}/{digest}"
    there = _there(place, name)
    if not there and judge.blind and _there(place, partial):
        name = partial
    elif not there:
        found = _measured(list(_pool(opened, groups, set(lowest.tolist()), m)), opened, judge, m, seed)
        if found is None:
            return None
        name = partial if isinstance(found[0], Partial) else name
        place.write(f"{name}.parquet", found[0])
        place.write(f"{name}.npz", found[1])
    random = stored(place, f"{name}.npz", RandomDistance.from_bytes).value()
    return Pool(stored(place, f"{name}.parquet", read_parquet).combine_chunks(), random)


def _there(place: Place, name: str) -> bool:
    return all(place.exists(f"{name}.{ending}") for ending in ("parquet", "npz"))


def _pool(opened: OpenSet, groups: Iterable[Group], ids: set[int], m: int) -> Iterator[CaptionedImage]:
    for group in groups:
        yield from (one for one in opened.read(group) if one.id in ids and len(one.captions) >= m)


def _measured(
    images: list[CaptionedImage], opened: OpenSet, judge: Judge, m: int, seed: int
) -> tuple[bytes, bytes] | None:
    # In an order that has nothing to do with what is on them.
    seen, pictures, away = judge.pictures(sorted(images, key=lambda image: image.id), opened)
    if not seen:
        return None
    said = [some_of(image, m, seed) for image in seen]
    texts = judge.texts([text for of_image in said for text in of_image])
    vectors = np.stack([texts(of_image) for of_image in said])
    found, random = retrieve(pictures, vectors), RandomDistance()
    random.add(vectors)
    columns: dict[str, Any] = {f"mean_{k}": found.mean(k) for k in _KS} | {f"union_{k}": found.union(k) for k in _KS}
    data = to_parquet(seen, columns)
    return Partial(data) if away else data, random.to_bytes()
