"""Caption sets that are being measured: their groups, the gauges put to them, and what those found."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from captioners.core.errors import UserError
from captioners.data.caption_sets import CaptionSet, Group, OpenSet
from captioners.jobs.measure.between_gauge import BetweenGauge
from captioners.jobs.measure.clip_gauge import ClipGauge
from captioners.jobs.measure.gauge import Gauge, Ids, Shelf, Shown, from_parquet, ids_of
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
from captioners.metrics.registry import BUNDLE
from captioners.metrics.tokens import TOKENIZER

if TYPE_CHECKING:
    import pyarrow

_ORDER = ("truth", "flags", "within", "between", "references", "clip", "across")
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
        df = caption_frequencies(self._weighed_by)
        self.stamp["document frequencies of Self-CIDEr"] = df.digest
        self._put(
            [[FlagsGauge(), WithinGauge(self.m_of(one), df.to_bytes(), options.all_metrics)] for one in self.opened]
        )
        self._only = self._shared()
        references = None if options.references is None else References(options.references)
        # All at once, so that captions are read once.
        self._put([self._rest(one, references) for one in self.opened])
        if judge is not None:
            self.stamp["judge"] = {"name": judge.name, "weights": judge.digest}
            self._judged(judge, references)

    def _rest(self, one: OpenSet, references: References | None) -> list[Gauge]:
        """Return what is put to a set once it is known which images count."""
        m = self.m_of(one)
        found: list[Gauge] = [BetweenGauge()] if len(one.parts) > 1 else []
        if one.first not in self._scenes:
            self._scenes[one.first] = has_scenes(one)
        if self._scenes[one.first]:
            found.append(TruthGauge(m))
        if references is not None:
            found.append(self._against(one, references))
        if self.options.all_metrics:
            known = None if references is None else known_text(references, one)
            found.append(AcrossGauge.of(m, self.options.seed, self._only, known))
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
                yield from map(AcrossSet.from_bytes, self._files(number, gauge))

    def _asked(self, shown: Sequence[Shown]) -> list[Shown]:
        return [one for one in shown if self.options.all_metrics or one.metric.name in BUNDLE]

    def _table(self, number: int, gauge: Gauge) -> "pyarrow.Table":
        import pyarrow as pa

        try:
            table = from_parquet(self._files(number, gauge))
        except (pa.ArrowException, OSError) as error:
            if getattr(error, "errno", None) is not None:
                raise  # the disk, not the file
            raise UserError(
                f"{Shelf(self.opened[number], gauge).where}: holds a damaged file; remove this folder and measure again"
            ) from None
        return table if self._only is None else table.filter(np.isin(ids_of(table), self._only))

    def _files(self, number: int, gauge: Gauge) -> Iterator[bytes]:
        """Yield a gauge's files of a set, group after group."""
        shelf = Shelf(self.opened[number], gauge)
        yield from map(shelf.read, self._groups[number])

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
            pool = pool_of(one, groups, ids_of(self._table(number, FlagsGauge())), judge, m, seed)
            if pool is None:
                raise UserError(
                    f"{one.name}: not one of its pictures can be read where its run found them; bring them back"
                )
            self._pools[number] = pool
        about = self.stamp.get("references", {})
        gauges = [
            [ClipGauge(self.m_of(one), judge, references, about, self._pools[number].random)]
            for number, one in enumerate(self.opened)
        ]
        self._put(gauges, workers=1)

    def _against(self, one: OpenSet, references: References) -> ReferencesGauge:
        df = reference_frequencies(references, one)
        self.stamp["references"] = {**references.identity(one), "df": df.digest, "df_images": df.images}
        return ReferencesGauge(self.m_of(one), references, df, self.stamp["references"])

    def _shared(self) -> Ids | None:
        """Return the images that all sets have, or None where no set has others."""
        ids = [np.sort(ids_of(from_parquet(self._files(at, FlagsGauge())))) for at in range(len(self.opened))]
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
