"""Four bad captioners and a good one, told apart by the metrics in the directions that are expected.

In the drawn world, where truth is known: one caption for all, copies of one good caption, fluent captions of another
scene, and true captions that go on and on. No metric alone tells them; the bundle does.
"""

import re
from functools import cache

import numpy as np

from captioners.data.drawn_check import check, facts, facts_stated
from captioners.data.drawn_scene import scene
from captioners.data.drawn_voices import captions
from captioners.metrics.across_set import AcrossSet
from captioners.metrics.faithfulness import Claim, Judged, Verdict, claims_true, coverage
from captioners.metrics.frequencies import fit
from captioners.metrics.streaming import Sums, WithinImage

M, IMAGES = 5, 80
VOICES = ("short", "relational", "count", "detailed", "paraphrased")


@cache
def scenes():
    return [scene(0, "eval", k) for k in range(IMAGES)]


def honest(k):
    """One caption of each of five voices."""
    return [captions(scenes()[k], voice, 1, 0)[0] for voice in VOICES]


def verbose(k, seed):
    """All that is there, and then all of it again and again."""
    first, *more = captions(scenes()[k], "detailed", 4, seed)
    return ". ".join([first, *(re.sub(r"\b(a|an|another)\b", "the", text) for text in more)])


CAPTIONERS = {
    "honest": honest,
    "one for all": lambda _: ["a red circle and a blue square"] * M,
    "copy": lambda k: [captions(scenes()[k], "short", 1, 0)[0]] * M,
    "hallucinating": lambda k: honest((k + IMAGES // 2) % IMAGES),
    "verbose": lambda k: [verbose(k, seed) for seed in range(M)],
}


def judged(texts, drawn):
    verdicts = []
    for text in texts:
        claims = [Claim(kind=claim.kind, true=claim.true) for claim in check(text, drawn).claims]
        verdicts.append(Verdict(claims=tuple(claims), facts=frozenset(facts_stated(text, drawn))))
    return Judged(verdicts=tuple(verdicts), num_facts=len(facts(drawn)))


@cache
def measured():
    df = fit((str(k), honest(k)) for k in range(IMAGES))
    found = {}
    for name, write in CAPTIONERS.items():
        said, sums, across = [write(k) for k in range(IMAGES)], Sums(), AcrossSet(M)
        sums.add(WithinImage(M, df).values(said))
        across.add(said, [str(k) for k in range(IMAGES)])
        truth = [judged(texts, drawn) for texts, drawn in zip(said, scenes(), strict=True)]
        found[name] = {name: sums.mean(name) for name in sums.names()}
        found[name] |= {metric.name: value for metric, value in across.values(1000).items()}
        found[name] |= {"claims true": claims_true(truth).value, "facts told": coverage(truth, M).value}
    return found


def of(metric):
    return {name: values[metric] for name, values in measured().items()}


def test_one_caption_for_all_is_told_by_the_set():
    """Within an image it looks like a copy; across the set nothing is left."""
    assert of("commonest caption")["one for all"] == 1
    assert all(value < 0.1 for name, value in of("commonest caption").items() if name != "one for all")
    for metric in ("vocabulary", "4-gram entropy", "unique captions of the set"):
        assert min(of(metric), key=of(metric).get) == "one for all"
    assert max(of("compression ratio"), key=of("compression ratio").get) == "one for all"
    assert of("claims true")["one for all"] < 0.5


def test_copies_are_told_within_the_image():
    for metric, ends in (("unique captions", 1 / M), ("Self-CIDEr", 0), ("mBLEU-4", 1)):
        assert of(metric)["copy"] == of(metric)["one for all"] == ends
    assert of("claims true")["copy"] == 1, "true, and of their own image: no other metric tells them"
    assert of("unique captions of the set")["copy"] > 5 * of("unique captions of the set")["one for all"]
    assert of("facts told")["copy"] < 0.5 * of("facts told")["honest"]


def test_hallucination_is_told_by_truth_alone():
    """The same captions as the honest ones', of other images: equally diverse, by every metric of words."""
    one, other = measured()["honest"], measured()["hallucinating"]
    for metric in ("Div-1", "Div-2", "mBLEU-4", "Self-CIDEr", "unique captions", "length", "length spread"):
        assert abs(one[metric] - other[metric]) < 1e-9, metric
    assert one["claims true"] == 1 > other["claims true"] + 0.3
    assert one["facts told"] > 2 * other["facts told"]


def test_verbosity_is_told_by_length_beside_diversity():
    one, other = measured()["honest"], measured()["verbose"]
    assert other["length"] > 4 * one["length"]
    assert other["claims true"] == 1
    assert other["Div-1"] < one["Div-1"] / 2, "long captions repeat words"
    assert other["unique captions"] > 0.9, "and yet no two are equal"
    assert other["facts told"] < one["facts told"], "all those words tell less than five short captions"


def test_no_two_of_them_look_alike():
    names = ("claims true", "unique captions", "length", "commonest caption")
    rows = {name: np.array([values[metric] for metric in names]) for name, values in measured().items()}
    scale = np.ptp(np.stack(list(rows.values())), axis=0)
    pairs = [(a, b) for a in rows for b in rows if a < b]
    assert min(float((np.abs(rows[a] - rows[b]) / scale).max()) for a, b in pairs) > 0.3
