"""The scores `words` and `logprob_per_token`: numbers of a caption that need no model."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from captioners.core.layers import Layer
from captioners.core.run_dir import RunDir
from captioners.metrics.caption_score import CaptionScore, Scoring, Values, caption_scores
from captioners.metrics.metric import Metric
from captioners.metrics.tokens import words

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class _OfRow:
    """A function of the row alone."""

    of: Callable[[Mapping[str, Any]], float | None]
    scorer: str = ""
    scorer_digest: str = ""

    def score(self, tables: "Mapping[str, pyarrow.Table]") -> dict[str, Values]:
        return {member: [self.of(row) for row in table.to_pylist()] for member, table in tables.items()}


@caption_scores.register("words")
class Words(CaptionScore):
    """Words of a caption, in any script."""

    metric: ClassVar[Metric] = Metric(name="words", unit="words", better="neither", source="metrics.tokens.words")

    def ready(self, run: RunDir, layers: Iterable[Layer]) -> Scoring:  # noqa: ARG002
        """Need nothing."""
        return _OfRow(lambda row: float(len(words(row["text"]))))


@caption_scores.register("logprob_per_token")
class LogprobPerToken(CaptionScore):
    """The captioner's own log-probability of its caption, for each token that it wrote; undefined where it has none."""

    metric: ClassVar[Metric] = Metric(
        name="logprob_per_token", unit="nat", low=-inf, high=0, better="neither",
        source="log-probability / (tokens + the end token)",
    )  # fmt: skip

    def ready(self, run: RunDir, layers: Iterable[Layer]) -> Scoring:  # noqa: ARG002
        """Need nothing."""
        return _OfRow(_mean_logprob)


def _mean_logprob(row: Mapping[str, Any]) -> float | None:
    # The end token is in the sum only where the caption ended itself.
    tokens = row["num_tokens"] + (row["finish"] == "eos")
    return row["logprob"] / tokens if row["logprob"] is not None and tokens else None
