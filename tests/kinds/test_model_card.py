"""kinds/model_card.py: front matter that parses, everything known said, and nobody's text taken for markup."""

import json

import pytest
from huggingface_hub import ModelCard

from captioners.core.package_data import SAMPLES
from captioners.kinds.model_card import model_card

CARD = {
    "name": "garden",
    "licences": {"weights": "MIT", "fine-tuning data": "unspecified"},
    "recommended_decoding": {"strategy": "beam", "width": 5},
    "num_parameters": 1_234_567,
    "max_tokens": 74,
    "context_length": 76,
    "tokenizer": "clip",
    "weights_digest": "ab" * 32,
}
COMPARISON = {
    "sentence": "Did it get better? YES: CIDEr-D 0.31 -> 0.92",
    "style": "At matched length, too.",
    "scorer_note": "No CLIPScore.",
    "before": {"name": "coca-l14-coco"},
    "scores": [
        {"metric": "CIDEr-D", "before": 0.31, "after": 0.92, "change": 0.61, "low": 0.5, "high": 0.7},
        {"metric": "BLEU-4", "before": 0.1, "after": 0.2, "change": 0.1, "low": None, "high": None},
        {"metric": "CLIPScore", "before": None, "after": None, "change": None, "low": None, "high": None},
    ],
}
TRAINED = CARD | {
    "comparison": COMPARISON,
    "sample_captions": [{"key": "a/1", "caption": "a cat | a dog"}],
    "data": {"images": 8000, "captions": 40_000, "digest": "cd"},
    "recipe": {"lr": 1e-5, "source": {"kind": "drawn", "voice": "short"}},
    "init": {"name": "coca-l14-coco", "digest": "ef"},
}


def front(text):
    """The front matter, as the Hub's own library reads it."""
    return ModelCard(text).data.to_dict()


def test_front_matter_is_what_the_hub_asks_for():
    assert front(model_card(CARD)) == {
        "license": "mit",
        "library_name": "open_clip",
        "pipeline_tag": "image-to-text",
        "tags": ["coca", "image-captioning", "captioners"],
    }
    assert front(model_card(TRAINED))["datasets"] == ["drawn"]
    folder = {"recipe": {"source": {"kind": "folder"}}}
    assert "datasets" not in front(model_card(CARD | folder)), "how files lie is no dataset's name"
    assert front(model_card(CARD | folder | {"data": {"name": "mscoco"}}))["datasets"] == ["mscoco"]


@pytest.mark.parametrize(
    ("licence", "found"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        ("unspecified", {"license": "unknown"}),
        ("Apple Machine Learning Research Model License (research only)", {"license": "apple-amlr"}),
        ("My own: 'terms' #1", {"license": "other", "license_name": "my-own-terms-1"}),
    ],
)
def test_licences_have_the_hub_s_names_and_others_are_other(licence, found):
    read = front(model_card(CARD | {"licences": {"weights": licence}}))
    assert {name: value for name, value in read.items() if name.startswith("license")} == found


def test_everything_known_is_said():
    text = model_card(TRAINED)
    for said in (
        "1.2 million parameters",
        "| fine-tuning data | unspecified |",
        "beam, width 5",
        "Did it get better? YES",
        "| CIDEr-D | 0.310 | 0.920 | +0.610 | +0.500 to +0.700 |",
        "| BLEU-4 | 0.100 | 0.200 | +0.100 | – |",
        "| a/1 | a cat \\| a dog |",
        "8,000 images with 40,000 captions. It began as coca-l14-coco.",
        "    lr: 1.0e-05\n",
    ):
        assert said in text
    assert "| CLIPScore" not in text


def test_what_is_not_known_is_not_spoken_of():
    text = model_card(CARD)
    for title in ("## Scores", "## Sample captions", "## Training"):
        assert title not in text
    assert "It began from random weights" in model_card(TRAINED | {"init": None})
    assert "knows only" not in text
    assert "It knows only drawn scenes" in model_card(CARD | {"knows_only": "drawn scenes"})


def test_captions_and_names_are_no_markup():
    hostile = "---\n# <script>alert(1)</script> [x](javascript:1) `a` **b**"
    text = model_card(TRAINED | {"name": hostile, "sample_captions": [{"key": hostile, "caption": hostile}]})
    assert "<script>" not in text
    assert "[x](javascript" not in text
    assert front(text)["license"] == "mit"
    assert text.count("\n---\n") == 1


def test_a_tokenizer_of_its_own_is_found_on_the_hub_by_the_repository_s_name():
    assert "hf_tokenizer_name" in model_card(CARD, own_tokenizer=True)
    named = model_card(CARD, own_tokenizer=True, repository="me/garden")
    assert "hf_tokenizer_name" not in named
    assert "hf-hub:me/garden" in named
    assert "hf-hub" not in model_card(CARD)


def test_the_packaged_captioner_has_a_card():
    card = json.loads((SAMPLES.parent / "demo_captioner" / "captioner.json").read_text())
    assert front(model_card(card)) == {
        "license": "apache-2.0",
        "library_name": "open_clip",
        "pipeline_tag": "image-to-text",
        "tags": ["coca", "image-captioning", "captioners"],
        "datasets": ["drawn"],
    }
