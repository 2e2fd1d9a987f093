"""captioners/metrics/across_set.py: hand-worked numbers, plain counting, and shards that add up to the whole."""

import zlib
from collections import Counter
from math import isnan, log2

import numpy as np
import pytest

from captioners.core.errors import CaptionersError, UserError
from captioners.metrics.across_set import AcrossSet, compression_ratio, entropy
from captioners.metrics.between import marginal_vocabulary
from captioners.metrics.hashed import Batch
from captioners.metrics.novelty import Known
from captioners.metrics.tokens import grams, split_all, words
from tests.metrics import oracle
from tests.metrics.oracle import SQUARES, T5, TRIANGLES

IMAGES = oracle.corpus(150, 3, seed=2)
KEYS = [f"image {k}" for k in range(150)]
KNOWN = Known.of([text for captions in oracle.corpus(200, 1, seed=3) for text in captions])


def counted(images=IMAGES, keys=KEYS, budget=400, known=KNOWN):
    found = AcrossSet(3, known, budget)
    for start in range(0, len(images), 11):
        found.add(images[start : start + 11], keys[start : start + 11])
    return found


def named(found):
    return {metric.name: value for metric, value in found.items()}


def test_entropies_of_the_five_captions_are_the_frozen_ones():
    batch = Batch.of([T5])
    found = [entropy(batch.gram_hashes(n)[0]) for n in (1, 2, 4)]
    assert found == pytest.approx([3.2951581920, 3.7621987352, 4.0957952550], abs=1e-9)


def test_corpus_mbleu_sums_before_it_divides():
    found = AcrossSet(3)
    again = ["three red squares in a row", "a row of three red squares", "three red squares in a row"]
    found.add([T5[:3], TRIANGLES, again], ["x", "y", "z"])
    # pycocoevalcap's own epsilons make the last digits: .3737854.
    assert named(found.values())["corpus mBLEU-4"] == pytest.approx(0.3737854, abs=5e-5)


def test_shards_merged_in_any_order_are_the_whole():
    whole = counted().to_bytes()
    parts = [counted(IMAGES[start : start + 40], KEYS[start : start + 40]).to_bytes() for start in range(0, 150, 40)]
    for order in (parts, parts[::-1]):
        merged = AcrossSet.from_bytes(order[0])
        for part in order[1:]:
            merged.merge(AcrossSet.from_bytes(part))
        assert merged.to_bytes() == whole
        assert merged.values() == counted().values()
    assert counted(IMAGES[::-1], KEYS[::-1]).to_bytes() == whole, "nor does the order of images matter"
    assert counted(IMAGES[1:], KEYS[1:]).to_bytes() != whole


def test_plain_counting_agrees():
    found = named(counted(budget=10**6).values())
    said = [caption for captions in IMAGES for caption in split_all(captions)]
    every = [word for caption in said for word in caption]
    assert found["vocabulary of the set"] == found["vocabulary"] == len(set(every))
    assert found["unique captions of the set"] == len(set(said)) / 450
    assert found["commonest caption"] == Counter(said).most_common(1)[0][1] / 450
    for n in (1, 2, 4):
        counts = Counter(gram for caption in said for gram in grams(caption, n))
        total = sum(counts.values())
        expected = -sum(times / total * log2(times / total) for times in counts.values())
        assert found[f"{n}-gram entropy"] == pytest.approx(expected)


def test_novelty_is_against_a_known_text():
    known_captions = [words(text) for captions in oracle.corpus(200, 1, seed=3) for text in captions]
    known_grams = {gram for caption in known_captions for gram in grams(caption, 4)}
    said = [caption for captions in IMAGES for caption in split_all(captions)]
    made = [gram for caption in said for gram in grams(caption, 4)]
    found = named(counted().values())
    assert found["novel 4-grams"] == pytest.approx(sum(gram not in known_grams for gram in made) / len(made))
    full = [caption for caption in said if caption]
    assert found["novel captions"] == pytest.approx(sum(caption not in known_captions for caption in full) / len(full))
    own = Known.of([text for captions in IMAGES for text in captions])
    assert named(counted(known=own).values())["novel captions"] == 0
    assert "novel captions" not in named(counted(known=None).values())


def test_what_grows_with_text_is_taken_at_a_budget_of_words():
    """Two sets, one of them larger, of one process: at a budget they agree, as a whole they do not."""
    small, large = oracle.corpus(100, 3, seed=4, letters=16), oracle.corpus(2000, 3, seed=5, letters=16)
    one, other = AcrossSet(3, budget=1500), AcrossSet(3, budget=1500)
    one.add(small, [str(k) for k in range(100)])
    other.add(large, [str(k) for k in range(2000)])
    first, second = named(one.values()), named(other.values())
    for name in ("2-gram entropy", "4-gram entropy"):
        assert first[name] == pytest.approx(second[name], abs=0.1), name
    whole = AcrossSet(3, budget=10**6)
    whole.add(large, [str(k) for k in range(2000)])
    assert named(whole.values())["4-gram entropy"] > second["4-gram entropy"] + 1
    assert named(whole.values(1500))["4-gram entropy"] == second["4-gram entropy"]


def test_a_budget_that_a_set_cannot_fill_is_undefined_there():
    found = counted(IMAGES[:5], KEYS[:5])
    assert isnan(named(found.values(400))["vocabulary"])
    assert named(found.values())["vocabulary"] > 0, "without one, all there is"
    with pytest.raises(UserError, match="budget of 401 words: the sample has 400"):
        found.values(401)


def test_the_same_images_are_sampled_of_every_captioner():
    one, other = counted(), counted(oracle.corpus(150, 3, seed=9))
    first, second = ([key for key, _ in found._sample.items()] for found in (one, other))
    assert set(first[:10]) == set(second[:10])


def test_vocabularies_at_a_budget_can_be_held_against_each_other():
    one, other = counted(), counted(oracle.corpus(150, 3, seed=9, letters=16))
    vocabularies = {"one": one.vocabulary(300), "other": other.vocabulary(300)}
    assert {name: len(hashes) for name, hashes in vocabularies.items()} == {
        "one": named(one.values(300))["vocabulary"],
        "other": named(other.values(300))["vocabulary"],
    }
    assert marginal_vocabulary(vocabularies) == {"one": 0, "other": 9}, "16 letters against 7 of them"


def test_compression_is_of_chunks_and_tells_copies():
    same = [words(T5[0])] * 20_000
    other = [(f"{a} {b}",) for a, b in np.random.Generator(np.random.Philox(key=1)).integers(0, 10**9, (20_000, 2))]
    assert compression_ratio(same) > 50 > 5 > compression_ratio(other)
    text = "\n".join(" ".join(caption) for caption in same).encode()
    assert compression_ratio(same * 2) == pytest.approx(compression_ratio(same), rel=0.05)
    assert compression_ratio(same[:100]) == pytest.approx(3299 / len(zlib.compress(text[:3299], 6)), rel=0.01)
    assert isnan(compression_ratio([]))


def test_one_caption_for_all_is_seen():
    found = AcrossSet(2)
    found.add([["a red square"] * 2] * 10, KEYS[:10])
    values = named(found.values())
    assert values["commonest caption"] == 1 and values["unique captions of the set"] == 1 / 20
    found = AcrossSet(3)
    found.add([SQUARES, TRIANGLES], KEYS[:2])
    assert named(found.values())["commonest caption"] == 1 / 6


def test_any_text_survives_the_file():
    """Also halves of a letter, which some captioners write, and texts without a word."""
    found = AcrossSet(2)
    found.add([["ein Kätzchen 🐈", "\ud83d cat"], ["", "図 1"]], ["a/ü", "b\0c"])
    again = AcrossSet.from_bytes(found.to_bytes())
    assert list(again._sample.items()) == list(found._sample.items())
    assert again.values() == found.values()


def test_nothing_is_undefined():
    found = AcrossSet(2)
    found.add([], [])
    assert all(isnan(value) for name, value in named(found.values()).items() if name != "vocabulary of the set")
    assert AcrossSet.from_bytes(found.to_bytes()).to_bytes() == found.to_bytes()


def test_what_does_not_add_up_is_refused():
    with pytest.raises(CaptionersError, match="another m or against another text"):
        counted().merge(AcrossSet(3))
    with pytest.raises(CaptionersError, match="different limits"):
        counted(known=None).merge(AcrossSet(3, budget=5))
    with pytest.raises(UserError, match="a set of 3 captions an image: these images have 5"):
        AcrossSet(3).add([T5], ["x"])
    with pytest.raises(UserError, match="no file of counts of a set"):
        AcrossSet.from_bytes(b"nothing")
    with pytest.raises(CaptionersError, match="merge instead"):
        AcrossSet.from_bytes(counted().to_bytes()).add(IMAGES[:1], ["another"])
