"""captioners/jobs/compare/scores.py: what is measured of two sets of captions, and what matched length means."""

from math import isnan

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.jobs.compare.scores import Said, matched, score
from captioners.metrics.alignment import Aligned
from captioners.metrics.references import cider_d
from captioners.metrics.tokens import words
from tests.jobs.comparing import VOICES, references

COUNT = 24
REFERENCES = [references(n) for n in range(COUNT)]


def said(voice, **more):
    return [Said(text=VOICES[voice](n), **more) for n in range(COUNT)]


def test_each_measure_has_both_sides_and_a_difference():
    found = score(said("poor"), said("good"), REFERENCES).differences
    assert list(found)[:4] == ["CIDEr-D", "CIDEr-D at matched length", "BLEU-4", "ROUGE-L"]
    assert found["CIDEr-D"].after == pytest.approx(cider_d([s.text for s in said("good")], REFERENCES).mean())
    assert found["CIDEr-D"].verdict == found["ROUGE-L"].verdict == found["BLEU-4"].verdict == "YES"
    assert (found["length"].before, found["length"].after) == (4, 7)
    assert found["shared captions"].before == 1


def test_the_other_way_round_it_got_worse():
    found = score(said("good"), said("poor"), REFERENCES).differences
    assert found["CIDEr-D"].verdict == "NO"
    assert found["shared captions"].after == 1


def test_degenerate_and_cut_captions_are_shares():
    found = score(said("good"), said("loop", finish="length"), REFERENCES).differences
    assert (found["degenerate captions"].before, found["degenerate captions"].after) == (0, 1)
    assert (found["cut by the limit"].before, found["cut by the limit"].after) == (0, 1)
    assert found["degenerate captions"].verdict == "NO"
    # The raw text still loops where a rule cleaned it.
    cleaned = [Said(text="a dog runs", raw_text="a dog " * 9)] * COUNT
    assert score(said("good"), cleaned, REFERENCES).differences["degenerate captions"].after == 1


def test_at_matched_length_a_longer_caption_of_the_same_words_gains_nothing():
    """All of this gain is length: before is the beginning of after."""
    after = [Said(text=VOICES["good"](n)) for n in range(COUNT)]
    before = [Said(text=" ".join(one.text.split()[:4])) for one in after]
    found = score(before, after, REFERENCES).differences
    assert found["CIDEr-D"].verdict == "YES"
    assert found["CIDEr-D at matched length"].change == 0
    other_words = score(said("poor"), after, REFERENCES).differences
    assert other_words["CIDEr-D at matched length"].verdict == "YES", "the control: this gain is in the words"


def test_both_are_cut_to_the_words_of_the_shorter_one_image_by_image():
    before, after = matched(["It's a Dog!", "one, two, three", ""], ["a big brown dog", "one", "x"])
    assert (before, after) == (["it's a dog", "one", ""], ["a big brown", "one", ""])
    assert all(len(words(a)) == len(words(b)) for a, b in zip(before, after, strict=True))


def test_what_a_scorer_says_stands_beside():
    ones = np.ones(COUNT)
    aligned = (Aligned(ones * 0.5, ones * 0.6, ones * 0), Aligned(ones * 0.7, ones * 0.8, ones))
    found = score(said("poor"), said("good"), REFERENCES, aligned).differences
    assert found["CLIPScore"].change == pytest.approx(0.2)
    assert found["self-retrieval R@1"].after == 1
    assert "CLIPScore" not in score(said("poor"), said("good"), REFERENCES).differences


def test_without_references_only_what_needs_none_is_defined():
    found = score(said("poor"), said("good"), [()] * COUNT)
    assert isnan(found.differences["CIDEr-D"].before)
    assert isnan(found.differences["BLEU-4"].before)
    assert isnan(found.reference_length)
    assert found.differences["length"].after == 7
    assert score(said("poor"), said("good"), REFERENCES).reference_length == pytest.approx(6)


def test_sides_must_have_the_same_images():
    with pytest.raises(UserError, match="23, 24 and 24"):
        score(said("poor")[1:], said("good"), REFERENCES)
