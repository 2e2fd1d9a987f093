"""The share of captions that are none: flagged as empty, going in circles, no text; and of those cut off.

Diversity of such captions is worth nothing, so these shares stand first, over all captions drawn, those included that
rules refused afterwards. The flags are those of `captioners.text.flags`, handed in: nothing is judged here.
"""

from collections.abc import Collection, Sequence

import numpy as np

from captioners.core.errors import UserError
from captioners.metrics.hashed import Numbers
from captioners.metrics.metric import Metric

FLAGS = frozenset(["empty", "too_short", "repetitive", "repeated_sentence", "not_text", "non_printing"])
"""Each of these makes a caption degenerate."""
CUT = "truncated"

DEGENERATE = Metric(
    name="degenerate captions",
    unit="share",
    high=1,
    better="lower",
    source="share of captions flagged " + ", ".join(sorted(FLAGS)),
)
TRUNCATED = Metric(
    name="truncated captions", unit="share", high=1, better="lower", source="share of captions flagged truncated"
)
REFUSED = Metric(
    name="refused captions", unit="share", high=1, better="lower", source="share of captions that a run's rules refused"
)
METRICS = (DEGENERATE, TRUNCATED, REFUSED)


def flag_shares(images: Sequence[Sequence[Collection[str]]]) -> dict[Metric, Numbers]:
    """Return both shares of each image, [B], from the flags of each of its captions; nan of an image without one.

    Raises:
        UserError: text where a caption's flags should be.
    """
    found = {metric: np.full(len(images), np.nan) for metric in (DEGENERATE, TRUNCATED)}
    for place, flags in enumerate(images):
        if any(isinstance(of_caption, str) for of_caption in flags):
            raise UserError("flags of each caption are needed, as a list for each")
        if flags:
            found[DEGENERATE][place] = sum(not FLAGS.isdisjoint(of_caption) for of_caption in flags) / len(flags)
            found[TRUNCATED][place] = sum(CUT in of_caption for of_caption in flags) / len(flags)
    return found
