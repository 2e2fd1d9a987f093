"""Flags: each fires on what it is for, among it two captions of Apple's teachers, and lets the rest be."""

import pytest
from pydantic import ValidationError

from captioners.text.flags import Rules, flags_of, repeats_a_sentence, strange_share, words_of
from tests.text.captions import HELD_OUT, PLAIN, VARIED

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


PUBLISHED = {
    "a 2 2 2 2 2 2 2 2 2 2 2 2": ["repetitive", "not_text"],
    "fahad 2 2 2 2 ... 2 2": ["repetitive", "not_text"],
    "a kitchen with a stove , a refrigerator , and the side of": ["truncated"],
    "a kitchen with white cabinets and a picture of a man in a frame": [],
}
"""Captions in the style of apple/ml-mobileclip-dr issue 4, and what they show."""


@pytest.mark.parametrize(("text", "flags"), PUBLISHED.items(), ids=lambda value: str(value)[:20])
def test_captions_that_were_published_as_broken_are_flagged(text, flags):
    assert flags_of(text) == flags


def test_the_limit_reveals_what_the_last_word_does_not():
    text = "a kitchen with white cabinets and a picture of a man in a frame"
    assert flags_of(text, finish="length") == ["truncated"]


@pytest.mark.parametrize("text", [*PLAIN, *VARIED, *HELD_OUT])
def test_captions_that_people_write_have_no_flag_that_refuses_them(text):
    assert not Rules().refused([flag for flag in flags_of(text) if flag not in ("too_short", "not_text")]), text


@pytest.mark.parametrize("text", ["a dog on the", "a dog and a", "a table with a cup,", "a table with a cup ,"])
def test_a_caption_that_goes_on_is_truncated(text):
    assert flags_of(text) == ["truncated"]


@pytest.mark.parametrize("text", ["a chair to sit on", "what he looks at.", "a dog of the.", "the letter k"])
def test_a_caption_that_may_end_so_is_not(text):
    assert "truncated" not in flags_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "A dog sits on a mat. A dog sits on a mat.",
        "a dog sits on a mat. it is grey. A dog sits on a mat",
        "Mr. Bean waves his hand. A car. Mr. Bean waves his hand!",
        "猫がいる。犬もいる。猫がいる。",
    ],
)
def test_a_sentence_that_is_there_twice_is_flagged(text):
    assert flags_of(text) == ["repeated_sentence"]


@pytest.mark.parametrize(
    "text",
    [
        "A dog sits on a mat. A dog sits on a rug.",
        "Stop. Stop. It says stop on the sign.",
        "a board of 3.5 m by 3.5 m",
        "Mr. Bean and Mr. Bean wave",  # no sentence ends there
    ],
)
def test_a_sentence_that_differs_or_is_a_mere_word_is_not(text):
    assert not repeats_a_sentence(text) and flags_of(text) == []


@pytest.mark.parametrize("raw", ["a red\x00 dog", "a caf\ufffd table", "a dog\u200b sits", "a dog\ue000 sits"])
def test_what_prints_nothing_is_flagged_though_the_clean_text_has_lost_it(raw):
    assert flags_of("a red dog", raw) == ["non_printing"] and Rules().refused(["non_printing"])


@pytest.mark.parametrize(
    "text", ["a café\u00a0table here", "two lines\nof a text", "a 👩\u200d🚀 in space", "क\u094d\u200dष एक वाक्य है"]
)
def test_spaces_and_joiners_print_nothing_and_belong_there(text):
    assert flags_of(text) == []


@pytest.mark.parametrize(
    "text", ["a red чашка on a mat", "a dog sits на the mat", "a c\u0430t on a mat", "a 狗 on a mat"]
)
def test_a_foreign_script_is_flagged_and_kept_by_the_default_rules(text):
    assert flags_of(text) == ["foreign_script"] and not Rules().refused(["foreign_script"])


@pytest.mark.parametrize(
    "text",
    [
        "a naïve café in Łódź", "a decay of α particles", "5 µm of dust here", "собака на коврике",
        "ＡＢＣ in wide letters", "a girl 👧 and a dog", "a 45° turn of it", "赤いスマートフォン iPhone",
    ],
)  # fmt: skip
def test_one_script_with_latin_names_and_symbols_is_not(text):
    assert flags_of(text) == []


def test_a_caption_wholly_in_a_script_that_nobody_asked_for_is_foreign():
    assert flags_of("собака на коврике", scripts=["latin"]) == ["foreign_script"]
    assert flags_of("a dog on a mat", scripts=["latin"]) == []
    assert flags_of("a dog on a mat", scripts=["cjk"]) == ["foreign_script"]
    assert flags_of("a dog на коврике", scripts=["latin"]) == ["foreign_script"], "though most letters are Cyrillic"
    assert flags_of("собака by Bob", scripts=["latin", "cyrillic"]) == []


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
        ("!?! #### ...", ["not_text"]),
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
    assert flags_of("a dog on a mat", finish="repetition") == ["repetitive"]
    refused = ("empty", "too_short", "repetitive", "repeated_sentence", "not_text", "non_printing")
    assert all(Rules().action([flag]) == "retry" for flag in refused)
    assert all(Rules().action([flag]) == "keep" for flag in ("truncated", "foreign_script", "placeholder"))


def test_the_strictest_action_counts_and_only_a_retry_is_bounded_by_attempts():
    rules = Rules(truncated="drop", retries=2)
    assert rules.action([]) == rules.action(["foreign_script"]) == "keep" and not rules.refused([])
    assert rules.action(["too_short", "truncated"]) == "drop"
    assert [rules.again(["too_short"], attempt) for attempt in range(4)] == [True, True, False, False]
    assert rules.refused(["truncated"]) and not rules.again(["truncated"], 0)
    assert not rules.again(["foreign_script"], 0)


def test_the_earlier_form_of_the_rules_still_means_what_it_meant():
    old = Rules.model_validate({"refuse": ["truncated", "empty"], "retries": 1})
    said = old.model_dump()
    flags = ("empty", "too_short", "repetitive", "not_text", "truncated")
    assert [flag for flag in flags if said[flag] == "retry"] == ["empty", "truncated"]
    assert old.retries == 1 and old.non_printing == "retry"
    for wrong in (["no_such"], "empty"):
        with pytest.raises(ValidationError, match="refuse"):
            Rules.model_validate({"refuse": wrong})


def test_words_and_strange_share_by_hand():
    assert words_of("A Red  dog") == ["a", "red", "dog"] and words_of("一只dog") == ["一", "只", "dog"]
    assert strange_share("ab 1!") == 0.5 and strange_share("") == 0.0
