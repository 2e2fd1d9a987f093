"""Which of two captions people prefer: votes on images, a share with its interval, and the verdict on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from statistics import NormalDist
from typing import Literal

from captioners.metrics.paired import FEWEST, Verdict

Choice = Literal["before", "after", "tie"]

_VALUE: Mapping[Choice, float] = {"before": 0.0, "tie": 0.5, "after": 1.0}


@dataclass(frozen=True, kw_only=True)
class Preference:
    """What votes say."""

    before: int
    """Votes, over all voters."""
    after: int
    tie: int
    images: int
    """Images that were voted on: what the interval rests on."""
    share: float
    """For `after`: mean over images of the mean of its votes, a tie counting half; nan without votes."""
    low: float
    """The ends of the 95 % interval of the share."""
    high: float

    @property
    def verdict(self) -> Verdict:
        """YES: `after` is preferred. NO: `before` is. CAN'T TELL: the interval holds one half, or too few images."""
        if self.images < FEWEST or self.low <= 0.5 <= self.high:
            return "CAN'T TELL"
        return "YES" if self.low > 0.5 else "NO"


def preference(votes: Mapping[str, Sequence[Choice]]) -> Preference:
    """Return what the votes on each image say; several voters' votes on one image are one observation.

    The interval is Wilson's (1927) with the number of images: votes on one image are not independent, and a mean of
    votes varies less than a single yes or no would, so it errs to the wide side.
    """
    cast = [list(of_image) for of_image in votes.values() if of_image]
    every = [vote for of_image in cast for vote in of_image]
    share, low, high = nan, nan, nan
    if cast:
        share = sum(sum(_VALUE[vote] for vote in of_image) / len(of_image) for of_image in cast) / len(cast)
        low, high = wilson(share, len(cast))
    counts: dict[Choice, int] = {choice: every.count(choice) for choice in _VALUE}
    return Preference(
        before=counts["before"],
        after=counts["after"],
        tie=counts["tie"],
        images=len(cast),
        share=share,
        low=low,
        high=high,
    )


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the ends of Wilson's 95 % interval of a share seen in `count` >= 1 cases."""
    z = NormalDist().inv_cdf(0.975)
    middle = share + z * z / (2 * count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
