"""Self-retrieval: which images are found again by their captions, in a pool; and how far apart any two captions are.

The pool is the 1,000 images whose names hash lowest: enough for a number, and no more work for a larger set.
"""

import json
from hashlib import sha256

import numpy as np

from captioners.data.caption_sets import CaptionedImage, Group, OpenSet
from captioners.jobs.measure.gauge import Ids, Shown, from_parquet, to_parquet
from captioners.jobs.measure.judge import Judge
from captioners.jobs.measure.words_gauge import some_of, versions
from captioners.metrics.embedded import RandomDistance
from captioners.metrics.retrieval import POOL, mean_recall, retrieve, union_recall

_KS = (1, 5)
_RANDOM = "random_distance"


def shown_of(pool: int) -> list[Shown]:
    """Return the metrics of a pool of so many images; in the default table, R@1 of one caption."""
    return [
        *(Shown(mean_recall(k, pool), (f"mean_{k}",), default=k == 1) for k in _KS),
        *(Shown(union_recall(k, pool), (f"union_{k}",), default=False) for k in _KS),
    ]
