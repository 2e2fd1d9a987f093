"""Flags: each fires on what it is for, among it two captions of Apple's teachers, and lets the rest be."""

import pytest

from captioners.text.flags import Rules, flags_of, strange_share, words_of

LOOPS = [
    "a 2 2 2 2 2 2 2 2 2 2 2 2",
    "fahad 2 2 2 2 ... 2 2",
    "a a a",
    "the cat the cat the cat",
    "a red dog and a red dog and a red dog and",
    "see one two three four five six one two three four five six one two three four five six",
    "0 0 0 0 0 0 0 people in it",
]
NO_LOOPS = [
    "a kitchen with a table , a chair , and the side of",
    "two large red squares, two large blue squares, and two large green circles",
    "a boeing 7 7 7 on a runway",
    "1 0 0 0 people in an arena of 1 0 , 0 0 0 seats",
    "the cat the cat the",
    "no no said the man",
    "one two three four five six seven one two three four five six seven one two three four five six seven",
]


@pytest.mark.parametrize("text", LOOPS)
def test_what_stands_back_to_back_three_times_is_repetitive(text):
    assert "repetitive" in flags_of(text)


@pytest.mark.parametrize("text", NO_LOOPS)
def test_what_merely_recurs_is_not(text):
    assert "repetitive" not in flags_of(text)


def test_a_long_text_that_compresses_beyond_measure_is_repetitive_and_a_short_one_is_not_judged():
    pair = "the small red ball lies on the table and "
    varied = "b the small red ball lies on the table and "
    text = (pair + varied) * 4
    assert "repetitive" in flags_of(text)
    assert "repetitive" not in flags_of(pair + varied)


def test_a_loop_is_looked_for_in_the_text_as_decoded():
    assert flags_of("fahad 2222 is here", "fahad 2 2 2 2 is here") == ["repetitive"]
    assert flags_of("fahad 2222 is here", None) == []


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("", ["empty"]),
        (" \n", ["empty"]),
        ("two dogs", ["too_short"]),
        ("two red dogs", []),
        ("猫在沙发上", []),
        ("猫", ["too_short"]),
        ("แมวบนโซฟา", []),
        ("!?! #### ...,", ["not_text"]),
        ("a + 9 - 3 = 4", ["not_text"]),
        ("room 2222 is open", []),
        ("हिन्दी में एक वाक्य", []),
    ],
)
def test_each_flag_fires_on_what_it_is_for(text, flags):
    assert flags_of(text) == flags


def test_a_caption_that_its_limit_ended_is_truncated_and_kept_by_the_default_rules():
    flags = flags_of("a dog on a", finish="length")
    assert flags == ["truncated"] and not Rules().refused(flags)
    assert Rules(refuse=["truncated"]).refused(flags)
    assert flags_of("a dog on a", finish="repetition") == ["repetitive"]
    assert all(Rules().refused([flag]) for flag in ("empty", "too_short", "repetitive", "not_text"))


def test_words_and_strange_share_by_hand():
    assert words_of("A Red  dog") == ["a", "red", "dog"] and words_of("一只dog") == ["一", "只", "dog"]
    assert strange_share("ab 1!") == 0.5 and strange_share("") == 0.0
