"""Caption sets that are being measured: their groups, the gauges put to them, and what those found."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from captioners.core.errors import UserError
from captioners.core.parquet_bytes import read_parquet
from captioners.data.caption_sets import CaptionSet, Group, OpenSet
from captioners.jobs.measure.between_gauge import AddedGauge, BetweenGauge
from captioners.jobs.measure.clip_gauge import ClipGauge
from captioners.jobs.measure.gauge import Gauge, Ids, Shelf, Shown, T, column, ids_of, joined
from captioners.jobs.measure.judge import Judge
from captioners.jobs.measure.references import References
from captioners.jobs.measure.references_gauge import ReferencesGauge
from captioners.jobs.measure.retrieval import Pool, pool_of
from captioners.jobs.measure.tables import caption_frequencies, known_text, reference_frequencies
from captioners.jobs.measure.truth import TruthGauge, has_scenes
from captioners.jobs.measure.words_gauge import AcrossGauge, FlagsGauge, WithinGauge
from captioners.jobs.measure.work import Setting, measure_groups
from captioners.jobs.recipes.measure import MeasureOptions
from captioners.metrics.across_set import AcrossSet
from captioners.metrics.frequencies import HashedFrequencies
from captioners.metrics.novelty import Known
from captioners.metrics.registry import BUNDLE
from captioners.metrics.tokens import TOKENIZER

if TYPE_CHECKING:
    import pyarrow

_ORDER = ("truth", "flags", "within", "between", "added", "references", "clip", "across")
"""Of gauges, as their metrics stand in a table."""


@dataclass(frozen=True)
class Found:
    """What was found of the images of a set by one gauge."""

    name: str
    shown: list[Shown]
    """The metrics that are asked for."""
    table: "Callable[[], pyarrow.Table]"
    """Reads a row for each image that counts."""


class Measured:
    """What is known of each set; made by `measure`."""

    def __init__(
        self,
        sets: Sequence[CaptionSet],
        options: MeasureOptions,
        say: Callable[[str], None],
        weighed_by: Sequence[CaptionSet] = (),
    ) -> None:
        names = [given.name for given in sets]
        if not names or len(set(names)) < len(names):
            raise UserError(f"caption sets of different names are measured, not {', '.join(names) or 'none'}")
        self.options, self._say, self._sets = options, say, tuple(sets)
        self.opened = [OpenSet(given) for given in sets]
        self._weighed_by = [*map(OpenSet, weighed_by)] or self.opened
        self._groups: list[list[Group]] = [list(one.groups()) for one in self.opened]
        for one, groups in zip(self.opened, self._groups, strict=True):
            if not groups:
                raise UserError(f"{one.name}: nothing is finished by all of its members yet; measure it later")
        self.m = min((one.m for one in self.opened if one.m > 1), default=1)
        """Captions of an image that sets of several are compared at."""
        self._gauges: list[list[Gauge]] = [[] for _ in sets]
        self._pools: dict[int, Pool] = {}
        self._scenes: dict[str, bool] = {}
        """Of each run, whether its images are of the drawn world."""
        self._only: Ids | None = None
        self._whole: Ids | None = None
        """Images that diversity is of, where not all sets have enough captions of all."""
        self.stamp: dict[str, Any] = {"m": self.m, "seed": options.seed, "tokenizer": TOKENIZER}
        """What the numbers depend on besides the captions."""

    def measure(self) -> None:
        """Measure all that is asked for and not there yet.

        Raises:
            UserError: sets of different images, and no word of what to do with them; references or a judge that cannot
                be had, or one that would judge its own cause.
            InterruptedRunError: stopped.
        """
        options = self.options
        judge = None if options.clip is None else Judge(options.clip, self.opened)
        said = caption_frequencies(self._weighed_by)
        self.stamp["document frequencies of Self-CIDEr"] = said.digest
        data, every = said.to_bytes(), options.all_metrics
        self._put([[FlagsGauge(), WithinGauge(self.m_of(one), data, every)] for one in self.opened])
        self._only = self._shared()
        self._whole = self._of_m()
        references = None if options.references is None else References(options.references)
        df, known = self._fitted(references)
        # All at once, so that captions are read once.
        self._put([self._rest(one, references, df, known) for one in self.opened])
        self._met(references)
        if judge is not None:
            self.stamp["judge"] = {"name": judge.name, "weights": judge.digest}
            self._judged(judge, references)

    def _fitted(self, references: References | None) -> tuple[HashedFrequencies | None, Known | None]:
        """Return the one table that all captions are weighed by against references, and what is not novel."""
        if references is None:
            return None, None
        df = reference_frequencies(references, self.opened)
        said = dict(references.identity(self.opened[0]))
        # Each run's own are other references.
        others = {str(references.identity(one)["shards"]) for one in self.opened} - {said["shards"]}
        told = {"shards of others": sorted(others)} if others else {}
        self.stamp["references"] = {**said, **told, "df": df.digest, "df_images": df.images}
        return df, known_text(references, self.opened) if self.options.all_metrics else None

    def _rest(
        self, one: OpenSet, references: References | None, df: HashedFrequencies | None, known: Known | None
    ) -> list[Gauge]:
        """Return what is put to a set once it is known which images count."""
        m = self.m_of(one)
        if one.first not in self._scenes:
            self._scenes[one.first] = has_scenes(one)
        found: list[Gauge] = [BetweenGauge()] if len(one.parts) > 1 else []
        if len(one.parts) > 1 and self.options.all_metrics:
            found.append(AddedGauge(len(one.parts), self._scenes[one.first]))
        if self._scenes[one.first]:
            found.append(TruthGauge(m))
        if references is not None and df is not None:
            about = {**references.identity(one), "df": df.digest, "df_images": df.images}
            found.append(ReferencesGauge(m, references, df, about))
        if self.options.all_metrics and m == self.m:  # a number across a set of fewer captions is no like of others'
            only = self._only if self._whole is None else self._whole
            found.append(AcrossGauge.of(m, self.options.seed, only, known))
        return found

    def count(self, number: int) -> int:
        """Return the number of images of a set that count."""
        return int(self._table(number, FlagsGauge()).num_rows)

    def m_of(self, one: OpenSet) -> int:
        """Return the number of captions of an image that a set is measured at."""
        return min(self.m, one.m)

    def found(self, number: int) -> list[Found]:
        """Return what each gauge found of a set, in the order of a table."""
        found = [
            Found(gauge.name, self._asked(gauge.shown), partial(self._table, number, gauge))
            for gauge in sorted(self._gauges[number], key=lambda gauge: _ORDER.index(gauge.name))
        ]
        pool = self._pools.get(number)
        if pool is not None:
            found.append(Found("retrieval", self._asked(pool.shown), lambda: pool.table))
        return [one for one in found if one.shown]

    def across(self, number: int) -> Iterator[AcrossSet]:
        """Yield the counts across each group of a set."""
        for gauge in self._gauges[number]:
            if isinstance(gauge, AcrossGauge):
                yield from self._files(number, gauge, AcrossSet.from_bytes)

    def members(self, number: int) -> "tuple[AddedGauge, pyarrow.Table]":
        """Return what the members of a set of several add, image by image, where all is asked for."""
        [gauge] = [one for one in self._gauges[number] if isinstance(one, AddedGauge)]
        return gauge, self._table(number, gauge)

    def _asked(self, shown: Sequence[Shown]) -> list[Shown]:
        return [one for one in shown if self.options.all_metrics or one.metric.name in BUNDLE]

    def _table(self, number: int, gauge: Gauge) -> "pyarrow.Table":
        table = joined(self._files(number, gauge, read_parquet))
        table = table if self._only is None else table.filter(np.isin(ids_of(table), self._only))
        return table if self._whole is None else _without(table, gauge, np.isin(ids_of(table), self._whole))

    def _files(self, number: int, gauge: Gauge, of: Callable[[bytes], T]) -> Iterator[T]:
        """Yield a gauge's files of a set as `of` reads them, group after group; raises as `stored` does."""
        shelf = Shelf(self.opened[number], gauge)
        yield from (shelf.read(group, of) for group in self._groups[number])

    def _put(self, gauges: Sequence[Sequence[Gauge]], workers: int | None = None) -> None:
        """Measure each set by further gauges."""
        setting = Setting(self._sets, tuple(map(tuple, gauges)))
        measure_groups(setting, self.opened, self._groups, workers or self.options.workers, self._say)
        for held, new in zip(self._gauges, gauges, strict=True):
            held.extend(new)

    def _judged(self, judge: Judge, references: References | None) -> None:
        """Put what needs the judge, in this process alone: it is large, and has the machine's threads to itself."""
        for number, (one, groups) in enumerate(zip(self.opened, self._groups, strict=True)):
            m, seed = self.m_of(one), self.options.seed
            ids = ids_of(self._table(number, FlagsGauge())) if self._whole is None else self._whole
            pool = pool_of(one, groups, ids, judge, m, seed)
            if pool is None:
                raise UserError(
                    f"{one.name}: not one of its pictures can be read where its run found them; bring them back"
                )
            self._pools[number] = pool
        abouts = [{} if references is None else references.identity(one) for one in self.opened]
        gauges = [
            [ClipGauge(self.m_of(one), judge, references, abouts[number], self._pools[number].random)]
            for number, one in enumerate(self.opened)
        ]
        self._put(gauges, workers=1)

    def _met(self, references: References | None) -> None:
        """Raise UserError where references are of none of a set's images."""
        if references is None:
            return
        for number, one in enumerate(self.opened):
            found = {gauge.name: gauge for gauge in self._gauges[number]}
            flags, scores = self._table(number, found["flags"]), self._table(number, found["references"])
            said = column(flags, "drawn") > column(flags, "refused")
            if said.any() and np.isnan(column(scores, "rouge_l")).all():
                raise UserError(
                    f"--references {references.given}: has no caption under the key of any of the {len(said):,} images "
                    f"of {one.name}; give the source that these pictures came from, or none"
                )

    def _of_m(self) -> Ids | None:
        """Return the images with enough captions in every set, sorted; None where no image of several has fewer."""
        if len(self.opened) == 1:
            return None
        tables = [self._table(number, FlagsGauge()) for number in range(len(self.opened))]
        enough = [
            ids_of(table)[column(table, "drawn") - column(table, "refused") >= self.m_of(one)]
            for one, table in zip(self.opened, tables, strict=True)
        ]
        if all(len(some) == table.num_rows for some, table in zip(enough, tables, strict=True)):
            return None
        return reduce(np.intersect1d, enough)

    @property
    def enough(self) -> int | None:
        """How many images have enough captions in every set, where not all have."""
        return None if self._whole is None else len(self._whole)

    def _shared(self) -> Ids | None:
        """Return the images that all sets have, or None where no set has others."""
        # A picture may stand twice in a shard, under one key.
        ids = [np.unique(ids_of(self._table(at, FlagsGauge()))) for at in range(len(self.opened))]
        shared = reduce(np.intersect1d, ids)
        if all(len(one) == len(shared) for one in ids):
            return None
        counts = ", ".join(f"{one.name} {len(of_set):,}" for one, of_set in zip(self.opened, ids, strict=True))
        if not len(shared):
            raise UserError(f"not one image is in all of these sets ({counts} images); measure them apart")
        if not self.options.common:
            raise UserError(
                f"these sets are of different images ({counts}); {len(shared):,} are in all of them, which --common "
                "measures; or measure the sets apart"
            )
        return shared


def _without(table: "pyarrow.Table", gauge: Gauge, whole: "np.ndarray[Any, np.dtype[np.bool_]]") -> "pyarrow.Table":
    """Return a table whose numbers at m captions are null for the images that lack captions in some set."""
    import pyarrow as pa

    for name in dict.fromkeys(name for shown in gauge.shown if shown.at_m for name in shown.columns):
        numbers = np.where(whole, column(table, name), np.nan)
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(numbers, from_pandas=True))
    return table
