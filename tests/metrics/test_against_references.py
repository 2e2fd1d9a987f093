"""captioners/metrics/against_references.py: caption by caption, what plain counting says of it."""

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.against_references import Against
from captioners.metrics.frequencies import fit
from captioners.metrics.hashed import Batch
from captioners.metrics.references import bleu
from tests.metrics import oracle

REFERENCES = [captions[: k % 5] for k, captions in enumerate(oracle.corpus(60, 4, seed=11, letters=5))]
CAPTIONS = oracle.corpus(60, 3, seed=12, letters=5)
DF = fit((str(k), texts) for k, texts in enumerate(REFERENCES))


def test_every_number_is_that_of_plain_counting():
    found, counted = Against(Batch.of(CAPTIONS), REFERENCES), oracle.frequencies(REFERENCES)
    counted = (sum(map(bool, REFERENCES)), counted[1])
    cider, rouge, counts = found.cider_d(DF), found.rouge_l(), found.bleu_counts()
    for place, (captions, texts) in enumerate(zip(CAPTIONS, REFERENCES, strict=True)):
        for slot, text in enumerate(captions):
            assert cider[place, slot] == pytest.approx(oracle.cider_d(text, texts, counted), abs=1e-12, nan_ok=True)
            assert rouge[place, slot] == pytest.approx(oracle.rouge_l(text, texts), abs=1e-12, nan_ok=True)
            assert counts[place, slot].tolist() == (oracle.bleu_row(text, texts) if texts else [0] * 10)
    assert np.isnan(cider).any() and (rouge > 0.3).any() and (cider > 0.1).any()


def test_the_frozen_numbers_of_coco_s_code():
    references = [
        ["a red circle above a blue square", "a red circle over a blue square"],
        ["two green triangles", "two small green triangles side by side"],
        ["a large yellow star", "one big yellow star"],
    ]
    said = [["a red circle above a blue square"], ["two green triangles side by side"], ["a yellow circle"]]
    found = Against(Batch.of(said), references)
    df = fit((str(k), texts) for k, texts in enumerate(references))
    assert found.cider_d(df)[:, 0] == pytest.approx(
        [7.3578989776197385, 5.525986124286089, 0.9628656004985292], abs=1e-12
    )
    assert found.rouge_l()[:, 0] == pytest.approx([1.0, 1.0, 0.5570776255707762], abs=1e-12)
    sums = found.bleu_counts().sum(axis=(0, 1)).astype(np.float64)
    assert float(bleu(sums)) == pytest.approx(0.780535, abs=1e-5)


def test_an_image_does_not_depend_on_its_company():
    """Bit for bit, however many references the others have."""
    whole = Against(Batch.of(CAPTIONS), REFERENCES)
    cider, rouge, counts = whole.cider_d(DF), whole.rouge_l(), whole.bleu_counts()
    for k in range(60):
        alone = Against(Batch.of(CAPTIONS[k : k + 1]), REFERENCES[k : k + 1])
        assert np.array_equal(alone.cider_d(DF)[0], cider[k], equal_nan=True)
        assert np.array_equal(alone.rouge_l()[0], rouge[k], equal_nan=True)
        assert np.array_equal(alone.bleu_counts()[0], counts[k])


def test_long_and_empty_captions():
    long = " ".join("abcde"[k * k % 5] for k in range(300))
    said, texts = [[long, ""], ["", "a"]], [[long[:99], "", long[5:]], [""]]
    found = Against(Batch.of(said), texts).rouge_l()
    for place in range(2):
        assert found[place] == pytest.approx([oracle.rouge_l(text, texts[place]) for text in said[place]])
    assert found[1].tolist() == [0, 0]


def test_a_table_of_one_image_weighs_nothing():
    one = fit([("0", ["a b"])])
    assert np.isnan(Against(Batch.of([["a b"]]), [["a b"]]).cider_d(one)).all()


def test_references_must_be_those_of_the_images():
    with pytest.raises(UserError, match="60 captions, 2 images"):
        Against(Batch.of(CAPTIONS), REFERENCES[:2])
