"""What measures the images of a caption set, and where its numbers lie: beside the layers, group by group.

measures/GAUGE/IDENTITY/about.json                    what was measured: gauge, layers, how
measures/GAUGE/IDENTITY/SHARD.START.DIGEST.parquet    id, shard, key, image_sha256, a column for each number; or .npz
measures/GAUGE/IDENTITY/partial/...                   the same of a group whose pictures were not all there

The identity covers the captions' layers and all that changes a number; the digest in a file's name covers the captions
of its group. So nothing stale is ever read, and two processes that make a file write the same.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import NotFoundError, UserError
from captioners.core.ledger import slug
from captioners.core.storage import Place
from captioners.data.caption_sets import CaptionedImage, Group, OpenSet
from captioners.metrics.metric import Metric

if TYPE_CHECKING:
    import pyarrow

Numbers = NDArray[np.float64]
Ids = NDArray[np.uint64]
T = TypeVar("T")
PARTIAL = "partial"
"""The folder of files that lack pictures which were away."""
IMAGE = ("id", "shard", "key", "image_sha256")
"""The columns that say of which image a row is."""


@dataclass(frozen=True)
class Shown:
    """How a metric comes of columns that are summed over images."""

    metric: Metric
    columns: tuple[str, ...]
    of: Callable[[Numbers], Numbers] | None = None
    """From sums [..., F] to numbers [...]; None: one column, of which it is the mean over images."""
    scale: float = 1.0
    """What the number is multiplied by."""
    at_m: bool = False
    """Whether it is of the images that have m captions, and changes with m."""

    def matrix(self, found: Mapping[str, Numbers]) -> Numbers:
        """Return what is summed, [B, F]; nan in the rows of images without a number."""
        columns = [np.asarray(found[name], dtype=np.float64) for name in self.columns]
        return np.stack([*columns, np.ones_like(columns[0])] if self.of is None else columns, axis=1)

    def numbers(self, sums: Numbers) -> Numbers:
        """Return the metric of sums, [..., F] -> [...]; nan where nothing defines it."""
        return self.scale * (ratio(sums) if self.of is None else self.of(sums))


def ratio(sums: Numbers) -> Numbers:
    """Return part / whole, [..., 2] -> [...]; nan where there is no whole."""
    part, whole = sums[..., 0], sums[..., 1]
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))


class Fresh:
    """A dataclass that goes to worker processes by its fields alone, without what it has opened or remembers."""

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]


class Partial(bytes):
    """A group's file that lacks pictures which were away: they may come back, and then it is measured anew."""


class Gauge(Protocol):
    """Measures images one by one; a value that goes to worker processes."""

    @property
    def name(self) -> str:
        """A folder's name."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON-able: what changes its numbers besides the captions, the versions of its metrics among it."""

    @property
    def shown(self) -> Sequence[Shown]:
        """Its metrics; none: its file is no table, but what `AcrossSet` wrote."""

    def measure(self, images: Sequence[CaptionedImage], opened: OpenSet, group: Group) -> bytes:
        """Return a group's file; a `Partial` one where something was away.

        Args:
            images: of the group. opened: the set that they are of, for what lies beside its captions.
        """


class Shelf:
    """The files of one gauge for one set, in the first of the set's runs."""

    def __init__(self, opened: OpenSet, gauge: Gauge) -> None:
        self.place: Place = opened.runs[opened.first].place
        about = {
            "gauge": gauge.name,
            "captions": opened.fingerprint,
            "members": [
                f"{part.member}: {draws} of {layer.draws}"
                for part, draws, layer in zip(opened.parts, opened.draws, opened.layers, strict=True)
            ],
            **gauge.identity,
        }
        self._about = (json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
        self._ending = "parquet" if gauge.shown else "npz"
        told = json.dumps({**about, "members": None}, sort_keys=True)  # members only for people
        self._folder = f"measures/{slug(gauge.name)}/{sha256(told.encode()).hexdigest()[:16]}"

    @property
    def where(self) -> str:
        """Where they are."""
        return self.place.at(self._folder)

    def file(self, group: Group) -> str:
        """Return the name of a group's file."""
        return f"{self._folder}/{slug(group.shard)}.{group.start:08d}.{group.digest[:16]}.{self._ending}"

    def files(self) -> set[str]:
        """Return the names of the files that are there."""
        return set(self.place.names(self._folder))

    def begin(self) -> None:
        """Say what is here, unless it is said."""
        self.place.create(f"{self._folder}/about.json", self._about)

    def partial(self, group: Group) -> str:
        """Return the name of a group's file that lacks something."""
        return f"{self._folder}/{PARTIAL}/{self.file(group).rpartition('/')[2]}"

    def write(self, group: Group, data: bytes) -> None:
        """Store a group's file, whole or not at all."""
        if isinstance(data, Partial):
            self.place.write(self.partial(group), data)
            return
        self.place.write(self.file(group), data)
        self.place.remove(self.partial(group))

    def read(self, group: Group, of: Callable[[bytes], T]) -> T:
        """Return a group's file, or what there is of it, as `of` reads it; raises as `stored` does."""
        try:
            return stored(self.place, self.file(group), of)
        except NotFoundError:
            return stored(self.place, self.partial(group), of)


def stored(place: Place, name: str, of: Callable[[bytes], T]) -> T:
    """Return what lies in a file, as `of` reads its bytes.

    Raises:
        UserError: it is damaged; says which it is. NotFoundError: there is none.
    """
    import pyarrow as pa

    data = place.read(name)
    try:
        return of(data)
    except (UserError, ValueError, KeyError, OSError, pa.ArrowException):  # of bytes in memory: not the disk's
        raise UserError(f"{place.at(name)}: is damaged; remove it and measure again") from None


def to_parquet(images: Sequence[CaptionedImage], columns: Mapping[str, Numbers]) -> bytes:
    """Return a group's file of numbers: a row for each image."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {
        "id": pa.array([image.id for image in images], pa.uint64()),
        "shard": pa.array([image.shard for image in images], pa.string()),
        "key": pa.array([image.key for image in images], pa.string()),
        "image_sha256": pa.array([image.image_sha256 for image in images], pa.string()),
    }
    numbers = {name: pa.array(values, pa.float64(), from_pandas=True) for name, values in columns.items()}
    file = BytesIO()
    pq.write_table(pa.table({**about, **numbers}), file, compression="zstd")
    return file.getvalue()


def joined(tables: "Iterable[pyarrow.Table]") -> "pyarrow.Table":
    """Return the rows of one table or several, in their order."""
    import pyarrow as pa

    return pa.concat_tables(tables).combine_chunks()


def ids_of(table: "pyarrow.Table") -> Ids:
    """Return the ids of a table's images, [B]."""
    return np.asarray(table["id"].to_numpy(), dtype=np.uint64)


def column(table: "pyarrow.Table", name: str) -> Numbers:
    """Return a column of numbers, [B]; nan where it is null."""
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)
