"""The first sentence of a caption (`raygen`): whole, whatever stops stand within it."""

import pytest

from captioners.text.rules import clean
from captioners.text.sentences import first_sentence, sentences


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a dog. a cat.", "a dog"),
        ("a 3.5 kg dog. it barks.", "a 3.5 kg dog"),
        ("mr. bean and dr. who. they wave.", "mr. bean and dr. who"),
        ("is it a dog? it is.", "is it a dog?"),
        ("a map of the u.s.", "a map of the u.s."),
        ("a dog ... and a cat. a bird.", "a dog ... and a cat"),
        ("no stop ", "no stop"),
        (".", ""),
        ("", ""),
    ],
)
def test_the_first_sentence_loses_its_full_stop_and_nothing_else(text, first):
    assert first_sentence(text) == first


def test_a_caption_as_the_tokenizer_decodes_it_is_cut_after_it_was_joined():
    assert first_sentence(clean("a man of 3 . 5 m , mr . bean . he waves .")) == "a man of 3.5 m, mr. bean"


def test_sentences_are_the_whole_text():
    assert sentences("A dog. Dr. Who waves!  And then") == ["A dog.", "Dr. Who waves!", "And then"]
    assert sentences(" ") == []
