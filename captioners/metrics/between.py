"""What captioners share and what each adds: overlap of n-grams, equal captions, captions in effect, vocabulary, facts.

All captioners describe the same images in the same order; A is their number. Overlap and duplicates are matrices for a
heat map, image by image, so that an interval over images can be had of each cell.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from captioners.core.errors import UserError
from captioners.metrics.faithfulness import Judged
from captioners.metrics.hashed import Batch, Hashes, Numbers, Whole
from captioners.metrics.metric import Metric
from captioners.metrics.vendi import vendi

N = 2
JACCARD = Metric(
    name="2-gram overlap",
    unit="share",
    high=1,
    better="neither",
    source="Jaccard index of two captioners' different bigrams of an image",
)
DUPLICATES = Metric(
    name="equal captions",
    unit="share",
    high=1,
    better="neither",
    source="share of pairs, one caption of each captioner of an image, that are equal as words",
)
MARGINAL_VOCABULARY = Metric(
    name="marginal vocabulary",
    unit="words",
    better="higher",
    source="words that no other of the captioners says, at a budget of words, the same images of every one",
)
GAMMA_ADDED = Metric(
    name="Vendi gamma added",
    unit="captions",
    low=-np.inf,
    better="higher",
    source="gamma of all captioners less that without this one",
)
FACTS_ADDED = Metric(
    name="facts added", unit="share", high=1, better="higher", source="share of facts that no other captioner tells"
)
METRICS = (JACCARD, DUPLICATES, MARGINAL_VOCABULARY, GAMMA_ADDED, FACTS_ADDED)


def overlap(batch: Batch, counts: Sequence[int], n: int = N) -> Numbers:
    """Return the Jaccard index of the sets of n-grams of each two captioners, [A, A, B]; nan where both have none.

    Args:
        batch: pooled. counts: how many captions of an image each captioner has.
    """
    grams, owner = batch.grams(n), _owners(batch, counts)
    has = np.zeros((len(grams.starts), len(counts)), dtype=bool)
    has[grams.groups, owner[grams.captions % max(1, batch.m)]] = True
    image = grams.captions[grams.starts] // max(1, batch.m)
    found = np.full((len(counts), len(counts), batch.images), np.nan)
    for one in range(len(counts)):
        for other in range(one, len(counts)):
            both = np.bincount(image, weights=has[:, one] & has[:, other], minlength=batch.images)
            any_of = np.bincount(image, weights=has[:, one] | has[:, other], minlength=batch.images)
            np.divide(both, any_of, out=found[one, other], where=any_of > 0)
            found[other, one] = found[one, other]
    return found


def duplicates(batch: Batch, counts: Sequence[int]) -> Numbers:
    """Return the share of pairs of captions that are equal, [A, A, B]; of one captioner, of its different draws.

    nan for a captioner with itself where it has one caption.
    """
    parts = _parts(batch, counts)
    hashes = [batch.caption_hashes[:, part] for part in parts]
    found = np.full((len(counts), len(counts), batch.images), np.nan)
    for a, one in enumerate(hashes):
        for b, other in enumerate(hashes):
            equal = (one[:, :, None] == other[:, None, :]).sum(axis=(1, 2)).astype(np.float64)
            if a != b:
                found[a, b] = equal / (counts[a] * counts[b])
            elif counts[a] > 1:
                found[a, a] = (equal - counts[a]) / (counts[a] * (counts[a] - 1))
    return found


def marginal_vocabulary(vocabularies: Mapping[str, Hashes]) -> dict[str, int]:
    """Return how many words each captioner has that no other has; their vocabularies at an equal budget of words."""
    every = np.concatenate([*vocabularies.values(), np.zeros(0, np.uint64)])
    known, times = np.unique(every, return_counts=True)
    alone = known[times == 1]
    return {name: int(np.isin(hashes, alone).sum()) for name, hashes in vocabularies.items()}


def gamma_added(kernels: Numbers, counts: Sequence[int]) -> Numbers:
    """Return what each captioner adds to the Vendi score of all captions, [B, M, M] -> [A, B].

    Without it there are fewer captions, too: compare with what the others add, not with zero.
    """
    found, start = [], 0
    for count in counts:
        rest = np.delete(np.arange(kernels.shape[-1]), np.arange(start, start + count))
        found.append(vendi(kernels) - vendi(kernels[:, rest[:, None], rest]))
        start += count
    return np.stack(found)


def facts_added(images: Sequence[Judged], counts: Sequence[int]) -> Numbers:
    """Return the share of an image's facts that one captioner alone tells, [A, B]; nan where they are not known.

    Args:
        images: with the verdicts of all captioners' captions, the first captioner's first.
    """
    found = np.full((len(counts), len(images)), np.nan)
    ends = np.cumsum([0, *counts]).tolist()
    for place, image in enumerate(images):
        if len(image.verdicts) != ends[-1]:
            raise UserError(f"an image has {len(image.verdicts)} captions, not {' + '.join(map(str, counts))}")
        if not image.num_facts:
            continue
        told = [set().union(*(v.facts for v in image.verdicts[start:end])) for start, end in pairwise(ends)]
        for a, facts in enumerate(told):
            others = set().union(*told[:a], *told[a + 1 :])
            found[a, place] = len(facts - others) / image.num_facts
    return found


def _owners(batch: Batch, counts: Sequence[int]) -> Whole:
    return np.repeat(np.arange(len(counts)), [part.stop - part.start for part in _parts(batch, counts)])


def _parts(batch: Batch, counts: Sequence[int]) -> list[slice]:
    if sum(counts) != batch.m:
        raise UserError(f"images of {batch.m} captions have not {' + '.join(map(str, counts))} of them")
    ends = np.cumsum([0, *counts]).tolist()
    return [slice(start, end) for start, end in pairwise(ends)]
