"""How much of what captions say is true, given a verdict on each claim; who judges is not known here.

Three outcomes, never two: what a judge could not read counts neither as true nor as false, and its share stands beside.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import comb, nan
from typing import Literal

from captioners.core.errors import UserError
from captioners.metrics.intervals import Interval, ratio
from captioners.metrics.metric import Metric

Outcome = Literal["true", "false", "unparseable"]

_SOURCE = "after Xie et al. 2019 (arXiv 1912.08960): truth by a checker that knows the scene"

CLAIMS_TRUE = Metric(name="claims true", unit="share", high=1, better="higher", source=_SOURCE)
CAPTIONS_TRUE = Metric(name="captions wholly true", unit="share", high=1, better="higher", source=_SOURCE)
UNPARSEABLE = Metric(name="captions unparseable", unit="share", high=1, better="lower", source=_SOURCE)
COVERAGE = Metric(name="facts told", unit="share", high=1, better="higher", source=_SOURCE)
METRICS = (CLAIMS_TRUE, CAPTIONS_TRUE, UNPARSEABLE, COVERAGE)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement of a caption."""

    kind: str
    """What it is about: "colour", "count" ..."""
    true: bool | None
    """None: the judge could not read it."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a judge found in one caption."""

    claims: tuple[Claim, ...]
    facts: frozenset[Hashable] = frozenset()
    """Those facts of the image that the caption states."""

    @property
    def outcome(self) -> Outcome:
        """false: a claim is; unparseable: none is, but one could not be read, or there is none; else true."""
        if any(claim.true is False for claim in self.claims):
            return "false"
        return "true" if self.claims and all(claim.true for claim in self.claims) else "unparseable"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One image's captions, judged."""

    verdicts: tuple[Verdict, ...]
    num_facts: int = 0
    """Facts that hold in the image; 0: not known, so it has no coverage."""


def claims_true(images: Sequence[Judged], kind: str | None = None, seed: int = 0) -> Interval:
    """Return the share of true claims among those read, of one kind or of all, pooled over images."""
    read = [
        [c.true for v in image.verdicts for c in v.claims if c.true is not None and kind in (None, c.kind)]
        for image in images
    ]
    return ratio([sum(map(bool, true)) for true in read], [len(true) for true in read], seed=seed)


def captions_true(images: Sequence[Judged], seed: int = 0) -> Interval:
    """Return the share of captions that are wholly true; one that could not be read is not."""
    return _share_of_captions(images, [sum(v.outcome == "true" for v in image.verdicts) for image in images], seed)


def unparseable(images: Sequence[Judged], seed: int = 0) -> Interval:
    """Return the share of captions without a false claim that hold something unreadable, or no claim at all."""
    return _share_of_captions(
        images, [sum(v.outcome == "unparseable" for v in image.verdicts) for image in images], seed
    )


def _share_of_captions(images: Sequence[Judged], counts: Sequence[int], seed: int) -> Interval:
    return ratio(counts, [len(image.verdicts) for image in images], seed=seed)


def coverage(images: Sequence[Judged], m: int, seed: int = 0) -> Interval:
    """Return facts@m: the share of an image's facts that m of its captions tell together, mean over images.

    It is the mean over all choices of m captions, exactly: a fact that k of M captions tell is missed by
    C(M - k, m) of the C(M, m) choices. Images whose facts are not known are left out.

    Raises:
        UserError: an image has fewer than m captions.
    """
    values = [coverage_of(image, m) for image in images if image.num_facts]
    return ratio(values, [1] * len(values), seed=seed)


def coverage_of(image: Judged, m: int) -> float:
    """Return one image's facts@m; nan where its facts are not known. Raises as `coverage` does."""
    made = len(image.verdicts)
    if not 1 <= m <= made:
        raise UserError(f"facts told by {m} captions: an image has {made}; ask for 1 to {made}")
    if not image.num_facts:
        return nan
    told = Counter(fact for verdict in image.verdicts for fact in verdict.facts)
    # Sorted: facts come out of a set in another order in each process, and the sum must not.
    found = sum(1 - comb(made - times, m) / comb(made, m) for times in sorted(told.values()))
    return COVERAGE.checked(found / image.num_facts)


def kinds(images: Sequence[Judged]) -> list[str]:
    """Return the kinds of claims that were made, sorted."""
    return sorted({claim.kind for image in images for verdict in image.verdicts for claim in verdict.claims})
