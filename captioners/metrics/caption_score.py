"""A score of single captions: one class is one metric, whose options are its own fields.

Each is filed by `@caption_scores.register(name)` in `jobs/measure/<name>_score.py`; `captioners measure RUN
--per-caption NAME` computes it for a run, and `select` and every reader can join it.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import Field

from captioners.core.layers import Layer
from captioners.core.options import Options
from captioners.core.registry import Registry
from captioners.core.run_dir import RunDir
from captioners.metrics.metric import Metric

if TYPE_CHECKING:
    import pyarrow

Values = list[float | None]
"""One for each row, in their order; None where the metric is undefined."""


class Partial(list[float | None]):
    """Values that lack those of pictures which were away: they may come back, and then it is scored anew."""

    def __init__(self, values: Iterable[float | None], away: int) -> None:
        super().__init__(values)
        self.away = away
        """Rows without a value for that."""


class Scoring(Protocol):
    """A score made ready for a run."""

    @property
    def scorer(self) -> str:
        """What the model that scores is called; empty where none is needed."""

    @property
    def scorer_digest(self) -> str:
        """Of its weights."""

    def score(self, tables: "Mapping[str, pyarrow.Table]") -> dict[str, Values]:
        """Return member -> the values of its rows, of one unit of the run; `Partial` where pictures were away."""


class CaptionScore(Options):
    """The options that every score has."""

    metric: ClassVar[Metric]
    """What it measures; its name is that of the registry."""
    name: str = Field("", pattern=r"^([a-z][a-z0-9_]*)?$", max_length=60)
    """What the scores are called, as a condition names them; the metric's own name when absent."""

    def ready(self, run: RunDir, layers: Iterable[Layer]) -> Scoring:
        """Open what it needs for the captions of these layers.

        Raises:
            UserError: a model cannot be had, or may not judge these captions.
        """
        raise NotImplementedError


caption_scores: Registry[type[CaptionScore]] = Registry("score", "captioners.jobs.measure", suffix="_score")
"""By name, as `--per-caption` says it."""
