"""captioners/metrics/tokens.py: what a word is, in ASCII and beyond."""

import unicodedata

import pytest

from captioners.metrics.tokens import _WORD, grams, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A red Circle, above a square.", ["a", "red", "circle", "above", "a", "square"]),
        ("it's the dogs' ball", ["it's", "the", "dogs", "ball"]),
        ("a two-tone (striped) 3.5 m hat!", ["a", "two", "tone", "striped", "3", "5", "m", "hat"]),
        ("snake_case", ["snake", "case"]),
        (" \t\n...", []),
    ],
)
def test_words_are_lower_case_without_punctuation(text, found):
    assert list(words(text)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ein Kätzchen, grün", ["ein", "kätzchen", "grün"]),
        ("l’été “chaud”", ["l'été", "chaud"]),
        ("красный круг", ["красный", "круг"]),
        ("हिन्दी में।", ["हिन्दी", "में"]),
        ("赤い丸と square", ["赤", "い", "丸", "と", "square"]),
    ],
)
def test_words_of_other_languages_are_whole(text, found):
    assert list(words(text)) == found


def test_composed_and_decomposed_letters_are_the_same_word():
    assert words(unicodedata.normalize("NFD", "Kätzchen")) == words("Kätzchen") == ("kätzchen",)


def test_the_short_way_of_ascii_is_the_long_way():
    text = "".join(map(chr, range(1, 128))) + " it's a 'quoted' two-tone 3.5 x_y z''s o'clock's"
    assert list(words(text)) == _WORD.findall(text.lower())


def test_grams_are_all_runs_of_n_words():
    assert grams(("a", "b", "c"), 2) == [("a", "b"), ("b", "c")]
    assert grams(("a",), 2) == []
