"""All metrics by name: what each needs, and which are measured unless more is asked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from captioners.metrics import across_set, alignment, between, degenerate, faithfulness, references, retrieval, vendi
from captioners.metrics.alignment import CLIP_SCORE, REF_CLIP_SCORE
from captioners.metrics.degenerate import DEGENERATE, TRUNCATED
from captioners.metrics.embedded import DISTANCE, RELATIVE_DISTANCE
from captioners.metrics.faithfulness import CLAIMS_TRUE, COVERAGE, UNPARSEABLE
from captioners.metrics.metric import Metric
from captioners.metrics.references import BLEU_4, CIDER_D, ROUGE_L
from captioners.metrics.streaming import BUNDLE as WITHIN_BUNDLE
from captioners.metrics.streaming import BY_NAME_ONLY, WITHIN
from captioners.metrics.vendi import BETA, VENDI_TEXT

Needs = Literal["captions", "text encoder", "references", "CLIP", "drawn scenes", "several captioners"]


@dataclass(frozen=True)
class Registered:
    """One metric."""

    metric: Metric
    needs: Needs
    """Besides the captions."""
    bundle: bool
    """Whether it is among the few that are measured unless more is asked for."""


BUNDLE = frozenset(
    [
        *(metric.name for metric in (*WITHIN_BUNDLE, DEGENERATE, TRUNCATED)),
        *(metric.name for metric in (RELATIVE_DISTANCE, BETA, CLIP_SCORE, REF_CLIP_SCORE)),
        *(metric.name for metric in (CIDER_D, BLEU_4, ROUGE_L, CLAIMS_TRUE, UNPARSEABLE, COVERAGE)),
    ]
)


def _all() -> dict[str, Registered]:
    pool = retrieval.POOL
    found_again = [of(k, pool) for of in (retrieval.mean_recall, retrieval.union_recall) for k in (1, 5)]
    groups: Iterable[tuple[Needs, Iterable[Metric]]] = (
        ("captions", (*WITHIN, *BY_NAME_ONLY, *across_set.METRICS, *degenerate.METRICS)),
        ("text encoder", (DISTANCE, RELATIVE_DISTANCE, VENDI_TEXT)),
        ("several captioners", (vendi.ALPHA, vendi.BETA, vendi.GAMMA, *between.METRICS)),
        ("references", references.METRICS),
        ("CLIP", (*alignment.METRICS, *found_again)),
        ("drawn scenes", faithfulness.METRICS),
    )
    return {
        metric.name: Registered(metric, needs, metric.name in BUNDLE) for needs, metrics in groups for metric in metrics
    }


REGISTRY: Mapping[str, Registered] = MappingProxyType(_all())
"""By name, in the order of a table."""
