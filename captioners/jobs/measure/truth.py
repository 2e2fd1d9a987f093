"""How much of what captions say of the drawn world is true, exactly: each claim held against the scene it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from captioners.core.errors import UserError
from captioners.data.caption_sets import CaptionedImage, Group, OpenSet
from captioners.data.drawn_check import check, facts, facts_stated
from captioners.data.drawn_scene import WORLD_VERSION, Scene, from_json
from captioners.jobs.measure.gauge import Shown, ratio, to_parquet
from captioners.metrics.faithfulness import (
    CAPTIONS_TRUE,
    CLAIMS_TRUE,
    COVERAGE,
    UNPARSEABLE,
    Claim,
    Judged,
    Verdict,
    coverage_of,
)

_LOOKED_AT = 16
"""Samples, to see whether they have scenes."""


def judged(captions: Sequence[str], scene: Scene) -> Judged:
    """Return the exact checker's verdicts on an image's captions; an unread clause is a claim that is neither."""
    verdicts = []
    for caption in captions:
        claims: list[Claim] = []
        for clause in check(caption, scene).clauses:
            claims += [Claim(kind=claim.kind, true=claim.true) for claim in clause.claims]
            if not clause.claims:
                claims.append(Claim(kind="clause", true=None))
        verdicts.append(Verdict(claims=tuple(claims), facts=frozenset(facts_stated(caption, scene))))
    return Judged(verdicts=tuple(verdicts), num_facts=len(facts(scene)))


@dataclass(frozen=True)
class TruthGauge:
    """Claims and captions that are true, unparseable captions, and facts told by m captions."""

    m: int
    name: str = "truth"

    @property
    def identity(self) -> Mapping[str, Any]:
        """World, versions, m."""
        versions = {one.name: one.version for one in (CLAIMS_TRUE, CAPTIONS_TRUE, UNPARSEABLE, COVERAGE)}
        return {"m": self.m, "metrics": versions, "world": WORLD_VERSION}

    @property
    def shown(self) -> Sequence[Shown]:
        """Shares of claims are pooled over images, as everywhere."""
        return (
            Shown(CLAIMS_TRUE, ("claims_true", "claims"), ratio),
            Shown(CAPTIONS_TRUE, ("captions_true", "captions"), ratio),
            Shown(UNPARSEABLE, ("unparseable", "captions"), ratio),
            Shown(COVERAGE, ("facts_told",), at_m=True),
        )

    def measure(self, images: Sequence[CaptionedImage], opened: OpenSet, group: Group) -> bytes:
        """Judge every caption that was kept; facts told only of images that have m of them."""
        scenes = {one.key: from_json(one.meta["scene"]) for one in opened.samples(group) if "scene" in one.meta}
        rows = [self._row(image, scenes.get(image.key)) for image in images]
        names = ("claims_true", "claims", "captions_true", "unparseable", "captions", "facts_told")
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
        return to_parquet(images, dict(zip(names, table.T, strict=True)))

    def _row(self, image: CaptionedImage, scene: Scene | None) -> list[float]:
        if scene is None:
            return [np.nan] * 6
        found = judged(image.captions, scene)
        read = [claim.true for one in found.verdicts for claim in one.claims if claim.true is not None]
        outcomes = [one.outcome for one in found.verdicts]
        told = coverage_of(found, self.m) if len(outcomes) >= self.m else np.nan
        return [
            sum(map(bool, read)), len(read), outcomes.count("true"), outcomes.count("unparseable"), len(outcomes), told
        ]  # fmt: skip


def has_scenes(opened: OpenSet) -> bool:
    """Whether the images of a set are of the drawn world, as far as its first ones tell.

    Where they cannot be read any more, whether they were judged before: what lies there stays good.
    """
    group = next(opened.groups(), None)
    if group is None:
        return False
    first = replace(group, stop=min(group.stop, group.start + _LOOKED_AT))
    try:
        return any("scene" in sample.meta for sample in opened.samples(first))
    except UserError:
        return next(opened.runs[opened.first].place.names("measures/truth"), None) is not None
