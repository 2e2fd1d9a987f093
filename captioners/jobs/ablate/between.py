"""What captioners of an ablation share, pair by pair, and what each adds to the ensembles that it is in.

Both are of the first images of the run, whose beginnings are even samples of it: a heat map needs no million.
"""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from captioners.data.caption_sets import CaptionSet, OpenSet, images_of
from captioners.data.drawn_scene import from_json
from captioners.jobs.measure.truth import has_scenes, judged
from captioners.metrics.between import DUPLICATES, JACCARD, duplicates, facts_added, gamma_added, overlap
from captioners.metrics.faithfulness import COVERAGE, Judged
from captioners.metrics.hashed import Batch, Numbers
from captioners.metrics.intervals import Interval, mean
from captioners.metrics.kernels import cosine_kernel
from captioners.metrics.vendi import GAMMA
from captioners.report.ablation import Added, Cell, Overlap

FIRST = 5000
"""Images."""


def overlaps(sets: Sequence[CaptionSet], draws: int) -> tuple[Overlap, ...]:
    """Return how much each two sets share of an image, at so many captions of each; nothing for a single set.

    Raises UserError as `images_of` does.
    """
    names = tuple(one.name for one in sets)
    images = [
        [text for name in names for text in captions[name]]
        for _, captions in islice(images_of(sets), FIRST)
        if all(len(captions[name]) == draws for name in names)
    ]
    if len(sets) < 2 or not images:
        return ()
    batch, counts = Batch.of(images), [draws] * len(sets)
    return tuple(
        Overlap(title=metric.name, captioners=names, values=_means(of(batch, counts)), images=len(images))
        for metric, of in ((JACCARD, overlap), (DUPLICATES, duplicates))
    )


def _means(values: Numbers) -> tuple[tuple[float | None, ...], ...]:
    """Return the means over images of [A, A, B]; None where no image has a value."""
    known = ~np.isnan(values)
    count = known.sum(axis=2)
    sums = np.where(known, values, 0.0).sum(axis=2)
    return tuple(
        tuple(float(total / number) if number else None for total, number in zip(row, numbers, strict=True))
        for row, numbers in zip(sums, count, strict=True)
    )


def added(arm: CaptionSet, captioners: Sequence[str]) -> list[Added]:
    """Return what each part of an arm adds: captions in effect, and facts (where known) that no other part tells.

    Raises UserError where a file of the run is gone or damaged.
    """
    opened = OpenSet(arm)
    told, verdicts = _told(opened)
    if len(arm.parts) < 2 or not told:
        return []
    gamma = gamma_added(cosine_kernel(Batch.of(told)), opened.draws)
    facts = facts_added(verdicts, opened.draws) if verdicts else None
    found = []
    for place, captioner in enumerate(captioners):
        changes = {GAMMA.name: _cell(mean(gamma[place]))}
        if facts is not None:
            changes[COVERAGE.name] = _cell(mean(facts[place]))
        found.append(Added(arm=arm.name, captioner=captioner, changes=changes))
    return found


def _told(opened: OpenSet) -> tuple[list[tuple[str, ...]], list[Judged]]:
    """Return the captions of images that none was refused of, and in the drawn world their verdicts."""
    drawn, told, verdicts = has_scenes(opened), list[tuple[str, ...]](), list[Judged]()
    for group in opened.groups():
        scenes = {one.key: one.meta["scene"] for one in opened.samples(group)} if drawn else {}
        for image in opened.read(group):
            if image.refused:
                continue
            told.append(image.captions)
            if drawn:
                verdicts.append(judged(image.captions, from_json(scenes[image.key])))
        if len(told) >= FIRST:
            break
    return told, verdicts


def _cell(interval: Interval) -> Cell:
    return Cell.of(interval.value, interval.low, interval.high, interval.count)
