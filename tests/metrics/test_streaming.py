"""captioners/metrics/streaming.py: a batch's values are each image's own, and sums know no order."""

import numpy as np
import pytest

from captioners.core.errors import CaptionersError, UserError
from captioners.metrics.diversity import DIV_1, LENGTH, UNIQUE
from captioners.metrics.frequencies import fit
from captioners.metrics.hashed import Batch
from captioners.metrics.kernels import SELF_CIDER
from captioners.metrics.self_bleu import MBLEU_4
from captioners.metrics.streaming import BUNDLE, BY_NAME_ONLY, WITHIN, Sums, WithinImage
from tests.metrics import oracle
from tests.metrics.oracle import T5

IMAGES = oracle.corpus(120, 5, seed=1)
DF = fit((str(k), captions) for k, captions in enumerate(IMAGES))
ALL = [metric.name for metric in WITHIN]


def same(one, other):
    return all(np.array_equal(one[metric], other[metric], equal_nan=True) for metric in one.keys() | other.keys())


def test_the_bundle_is_measured_unless_more_is_asked_for():
    assert WithinImage(5, DF).metrics == BUNDLE
    assert SELF_CIDER not in WithinImage(5).metrics, "it needs a table"
    assert set(WithinImage(5, DF, ALL).metrics) == set(WITHIN)


@pytest.mark.parametrize("m", [5, 3, 1])
def test_an_image_does_not_depend_on_its_company(m):
    """Bit for bit: alone, among others, in another order, in batches of any size."""
    within = WithinImage(m, DF, ALL)
    whole = within.values(IMAGES)
    parts = [within.values(IMAGES[start : start + 7]) for start in range(0, len(IMAGES), 7)]
    assert same(whole, {metric: np.concatenate([part[metric] for part in parts]) for metric in whole})
    assert same(whole, {metric: values[::-1] for metric, values in within.values(IMAGES[::-1]).items()})
    assert same(whole, within.values(Batch.of(IMAGES)))


def test_many_captions_do_not_depend_on_company_either():
    images = oracle.corpus(12, 12, seed=6)
    for m in (12, 4):
        within = WithinImage(m, DF, ALL)
        whole, alone = within.values(images), [within.values([captions]) for captions in images]
        assert same(whole, {metric: np.concatenate([one[metric] for one in alone]) for metric in whole})


@pytest.mark.parametrize("m", [5, 3])
def test_the_order_of_an_image_s_captions_does_not_matter(m):
    within = WithinImage(m, DF, ALL)
    forth, back = within.values(IMAGES), within.values([captions[::-1] for captions in IMAGES])
    for metric in forth:
        assert forth[metric] == pytest.approx(back[metric], abs=1e-9, nan_ok=True), metric.name


def test_what_depends_on_the_order_of_captions_is_measured_by_its_name_only():
    assert not set(BY_NAME_ONLY) & set(WITHIN)
    names = [metric.name for metric in BY_NAME_ONLY]
    (forth,), (back,) = (
        WithinImage(5, DF, names).values([captions[::step] for captions in IMAGES]).values() for step in (1, -1)
    )
    assert np.nanmax(np.abs(forth - back)) > 0.01


def test_copies_reach_the_end_of_every_range():
    """A fluent caption five times: the least diversity that each metric can say."""
    found = {metric.name: float(values[0]) for metric, values in WithinImage(5, DF, ALL).values([[T5[0]] * 5]).items()}
    assert found["mBLEU-4"] == found["Vendi (words)"] == 1
    assert found["Self-CIDEr"] == found["LSA diversity"] == found["length spread"] == 0
    assert found["unique captions"] == 1 / 5
    assert found["Div-1"] == 6 / 35


def test_captions_that_share_nothing_reach_the_other_end():
    nothing = [["a b c d", "e f g h", "i j k l"]]
    found = {metric.name: float(values[0]) for metric, values in WithinImage(3, DF, ALL).values(nothing).items()}
    assert found["mBLEU-4"] == 0
    assert found["Div-1"] == found["unique captions"] == 1
    assert [found[name] for name in ("Self-CIDEr", "LSA diversity")] == pytest.approx([1, 1], abs=1e-9)
    assert found["Vendi (words)"] == pytest.approx(3)


def test_saying_everything_twice_lowers_diversity():
    once, twice = WithinImage(5, DF).values([T5]), WithinImage(10, DF).values([T5 * 2])
    for metric in (DIV_1, UNIQUE, SELF_CIDER):
        assert twice[metric] < once[metric]
    assert twice[MBLEU_4] == 1 > once[MBLEU_4]


def test_one_caption_has_a_length_and_no_diversity():
    found = WithinImage(1, DF, ALL).values([["a b"], ["a"]])
    assert found.pop(LENGTH).tolist() == [2, 1]
    assert all(np.isnan(values).all() for values in found.values())


def test_more_captions_are_rarefied_to_m():
    """Over all choices, one by one, where there are few of them."""
    found = WithinImage(3, DF, ALL).values(IMAGES[:20])
    for metric, of in ((DIV_1, lambda c: oracle.div_n(c, 1)), (UNIQUE, oracle.unique), (LENGTH, oracle.length)):
        assert found[metric] == pytest.approx([oracle.rarefied(c, 3, of) for c in IMAGES[:20]], nan_ok=True)
    assert found[MBLEU_4] == pytest.approx([oracle.rarefied(c, 3, oracle.mbleu) for c in IMAGES[:20]], nan_ok=True)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: WithinImage(0), "give 1 or more"),
        (lambda: WithinImage(5, names=["Div-3"]), "no metric .* 'Div-3'. Did you mean 'Div-"),
        (lambda: WithinImage(5, names=["Self-CIDEr"]), "needs a table of document frequencies"),
        (lambda: WithinImage(5, names=["Self-CIDEr (CIDEr-D)"]), "needs a table of document frequencies"),
        (lambda: WithinImage(6).values([T5]), "6 captions an image: these images have 5"),
        (lambda: WithinImage(2).values([T5, T5[:2]]), "equal number of captions"),
    ],
)
def test_what_cannot_be_measured_is_said(make, says):
    with pytest.raises(UserError, match=says):
        make()


def test_no_image_has_no_value():
    assert all(not len(values) for values in WithinImage(5, DF, ALL).values([]).values())


def summed(images):
    sums = Sums()
    for start in range(0, len(images), 9):
        sums.add(WithinImage(5, DF, ALL).values(images[start : start + 9]))
    return sums


def test_sums_merged_in_any_order_are_those_of_the_whole():
    whole, parts = summed(IMAGES), [summed(IMAGES[start : start + 31]) for start in range(0, 120, 31)]
    for order in (parts, parts[::-1]):
        merged = Sums()
        for part in order:
            merged.merge(Sums.from_bytes(part.to_bytes()))
        assert merged.to_bytes() == whole.to_bytes()
    assert summed(IMAGES[1:]).to_bytes() != whole.to_bytes()


def test_sums_are_means_and_deviations():
    sums, values = summed(IMAGES), WithinImage(5, DF, ALL).values(IMAGES)
    for metric, of_images in values.items():
        known = of_images[~np.isnan(of_images)]
        assert sums.images(metric.name) == len(known)
        assert sums.undefined(metric.name) == len(of_images) - len(known)
        assert sums.mean(metric.name) == pytest.approx(known.mean(), abs=1e-11)
        assert sums.deviation(metric.name) == pytest.approx(known.std(ddof=1), abs=1e-9)
    with pytest.raises(CaptionersError, match="no values of 'x' were added"):
        sums.mean("x")


def test_sums_of_nothing_and_of_one_are_undefined_where_they_must_be():
    sums = Sums()
    sums.add({LENGTH: np.array([np.nan])})
    assert np.isnan(sums.mean("length"))
    sums.add({LENGTH: np.array([3.0])})
    assert (sums.mean("length"), sums.images("length"), sums.undefined("length")) == (3.0, 1, 1)
    assert np.isnan(sums.deviation("length"))
