"""Caption sets that are being measured: their groups, the gauges put to them, and what those found."""

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from captioners.core.errors import UserError
from captioners.data.caption_sets import CaptionSet, Group, OpenSet
from captioners.jobs.measure.gauge import Gauge, Ids, Shelf, Shown, from_parquet, ids_of
from captioners.jobs.measure.references import References
from captioners.jobs.measure.references_gauge import ReferencesGauge
from captioners.jobs.measure.tables import caption_frequencies, reference_frequencies
from captioners.jobs.measure.truth import TruthGauge, has_scenes
from captioners.jobs.measure.words_gauge import AcrossGauge, FlagsGauge, WithinGauge
from captioners.jobs.measure.work import Setting, measure_groups
from captioners.jobs.recipes.measure import MeasureOptions
from captioners.metrics.frequencies import HashedFrequencies
from captioners.metrics.tokens import TOKENIZER

if TYPE_CHECKING:
    import pyarrow

_ORDER = ("truth", "flags", "within", "references", "clip", "across")
"""Of gauges, as their metrics stand in a table."""


class Measured:
    """What is known of each set; made by `measure`."""

    def __init__(self, sets: Sequence[CaptionSet], options: MeasureOptions, say: Callable[[str], None]) -> None:
        names = [given.name for given in sets]
        if not names or len(set(names)) < len(names):
            raise UserError(f"caption sets of different names are measured, not {', '.join(names) or 'none'}")
        self.options, self._say, self._sets = options, say, tuple(sets)
        self.opened = [OpenSet(given) for given in sets]
        self._groups: list[list[Group]] = [list(one.groups()) for one in self.opened]
        for one, groups in zip(self.opened, self._groups, strict=True):
            if not groups:
                raise UserError(f"{one.name}: nothing is finished by all of its members yet; measure it later")
        self.m = min((one.m for one in self.opened if one.m > 1), default=1)
        """Captions of an image that sets of several are compared at."""
        self._gauges: list[list[Gauge]] = [[] for _ in sets]
        self._only: Ids | None = None
        self.stamp: dict[str, Any] = {"m": self.m, "seed": options.seed, "tokenizer": TOKENIZER}
        """What the numbers depend on besides the captions."""
        self.said: list[str] = []
        """Footnotes of what was measured."""

    def measure(self) -> None:
        """Measure all that is asked for and not there yet.

        Raises:
            UserError: sets of different images, and no word of what to do with them; references that cannot be had.
            InterruptedRunError: stopped.
        """
        options = self.options
        df = caption_frequencies(self.opened[0])
        self.stamp["document frequencies of Self-CIDEr"] = HashedFrequencies.from_bytes(df).digest
        self._put([[FlagsGauge(), WithinGauge(self.m_of(one), df, options.all_metrics)] for one in self.opened])
        self._only = self._shared()
        truth = {one.first: has_scenes(one) for one in {one.first: one for one in self.opened}.values()}
        self._put([[TruthGauge(self.m_of(one))] if truth[one.first] else [] for one in self.opened])
        if options.references is not None:
            references = References(options.references)
            self._put([[self._references(one, references)] for one in self.opened])
        if options.all_metrics:
            self._put([[AcrossGauge.of(self.m_of(one), options.seed, self._only)] for one in self.opened])

    def count(self, number: int) -> int:
        """Return the number of images of a set that count."""
        return int(self.found(number, FlagsGauge()).num_rows)

    def m_of(self, one: OpenSet) -> int:
        """Return the number of captions of an image that a set is measured at."""
        return min(self.m, one.m)

    def gauges(self, number: int) -> list[Gauge]:
        """Return what was put to a set, in the order of a table."""
        return sorted(self._gauges[number], key=lambda gauge: _ORDER.index(gauge.name))

    def shown(self, gauge: Gauge) -> list[Shown]:
        """Return the metrics of a gauge that are asked for."""
        return [one for one in gauge.shown if one.default or self.options.all_metrics]

    def found(self, number: int, gauge: Gauge) -> "pyarrow.Table":
        """Return what a gauge found of the images of a set that count."""
        table = from_parquet(self.files(number, gauge))
        return table if self._only is None else table.filter(np.isin(ids_of(table), self._only))

    def files(self, number: int, gauge: Gauge) -> Iterator[bytes]:
        """Yield a gauge's files of a set, group after group."""
        shelf = Shelf(self.opened[number], gauge)
        yield from map(shelf.read, self._groups[number])

    def _put(self, gauges: Sequence[Sequence[Gauge]]) -> None:
        """Measure each set by further gauges."""
        setting = Setting(self._sets, tuple(map(tuple, gauges)))
        measure_groups(setting, self.opened, self._groups, self.options.workers, self._say)
        for held, new in zip(self._gauges, gauges, strict=True):
            held.extend(new)

    def _references(self, one: OpenSet, references: References) -> ReferencesGauge:
        df, digest = reference_frequencies(references, one)
        self.stamp["references"] = {**references.identity(one), "df": digest, "df_images": df.images}
        return ReferencesGauge(self.m_of(one), references, df, self.stamp["references"])

    def _shared(self) -> Ids | None:
        """Return the images that all sets have, or None where no set has others."""
        ids = [np.sort(ids_of(from_parquet(self.files(at, FlagsGauge())))) for at in range(len(self.opened))]
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
