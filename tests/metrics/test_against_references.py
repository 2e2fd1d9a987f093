"""captioners/metrics/against_references.py: caption by caption, what `metrics.references` says of it."""

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.against_references import against_references
from captioners.metrics.frequencies import fit
from captioners.metrics.hashed import Batch
from captioners.metrics.references import bleu, bleu_counts, cider_d, rouge_l
from tests.metrics import oracle

REFERENCES = [captions[: k % 5] for k, captions in enumerate(oracle.corpus(60, 4, seed=11, letters=5))]
CAPTIONS = oracle.corpus(60, 3, seed=12, letters=5)
DF = fit((str(k), texts) for k, texts in enumerate(REFERENCES))


def test_every_number_is_that_of_the_plain_way():
    found = against_references(Batch.of(CAPTIONS), REFERENCES, DF)
    for slot in range(3):
        said = [captions[slot] for captions in CAPTIONS]
        assert found.cider_d[:, slot] == pytest.approx(cider_d(said, REFERENCES), abs=1e-12, nan_ok=True)
        assert found.rouge_l[:, slot] == pytest.approx(rouge_l(said, REFERENCES), abs=1e-12, nan_ok=True)
        wanted = np.nan_to_num(bleu_counts(said, REFERENCES))
        assert np.array_equal(found.bleu_counts[:, slot], wanted)
    assert np.isnan(found.cider_d).any() and (found.rouge_l > 0.3).any()


def test_the_frozen_numbers_of_coco_s_code():
    references = [
        ["a red circle above a blue square", "a red circle over a blue square"],
        ["two green triangles", "two small green triangles side by side"],
        ["a large yellow star", "one big yellow star"],
    ]
    said = [["a red circle above a blue square"], ["two green triangles side by side"], ["a yellow circle"]]
    found = against_references(Batch.of(said), references, fit((str(k), r) for k, r in enumerate(references)))
    assert found.cider_d[:, 0] == pytest.approx([7.3578989776197385, 5.525986124286089, 0.9628656004985292], abs=1e-12)
    assert found.rouge_l[:, 0] == pytest.approx([1.0, 1.0, 0.5570776255707762], abs=1e-12)
    sums = found.bleu_counts.sum(axis=(0, 1)).astype(np.float64)
    assert float(bleu(sums)) == pytest.approx(0.780535, abs=1e-5)


def test_an_image_does_not_depend_on_its_company():
    whole = against_references(Batch.of(CAPTIONS), REFERENCES, DF)
    for k in range(60):
        alone = against_references(Batch.of(CAPTIONS[k : k + 1]), REFERENCES[k : k + 1], DF)
        assert np.array_equal(alone.cider_d[0], whole.cider_d[k], equal_nan=True)
        assert np.array_equal(alone.rouge_l[0], whole.rouge_l[k], equal_nan=True)
        assert np.array_equal(alone.bleu_counts[0], whole.bleu_counts[k])


def test_long_and_empty_captions():
    long = " ".join("abcde"[k * k % 5] for k in range(300))
    said, texts = [[long, ""], ["", "a"]], [[long[:99], "", long[5:]], [""]]
    found = against_references(Batch.of(said), texts, DF)
    for slot in range(2):
        assert found.rouge_l[:, slot] == pytest.approx(rouge_l([row[slot] for row in said], texts))
    assert found.rouge_l[1].tolist() == [0, 0]


def test_a_table_of_one_image_weighs_nothing():
    one = fit([("0", ["a b"])])
    assert np.isnan(against_references(Batch.of([["a b"]]), [["a b"]], one).cider_d).all()


def test_references_must_be_those_of_the_images():
    with pytest.raises(UserError, match="60 images, references of 2"):
        against_references(Batch.of(CAPTIONS), REFERENCES[:2], DF)
