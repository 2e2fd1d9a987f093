"""Captions longer than the context: cut at a token as open_clip does, or after the last whole sentence."""

import pytest

from captioners.text.sentences import sentence_ends
from captioners.text.tokenizer import ClipTokenizer
from captioners.text.truncate import fit

TOKENIZER = ClipTokenizer()


def _sentences(text):
    ends = sentence_ends(text)
    return [text[a:b].strip() for a, b in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("A cat sleeps. A dog barks! Why? Nobody knows.", ["A cat sleeps.", "A dog barks!", "Why?", "Nobody knows."]),
        ("a cat sleeps. it is grey.", ["a cat sleeps.", "it is grey."]),
        ("Mr. Bean drives a mini.", ["Mr. Bean drives a mini."]),
        ("mr. bean and dr. who.", ["mr. bean and dr. who."]),
        ("A board of 3.5 m. It is wet.", ["A board of 3.5 m. It is wet."]),  # a letter alone: not known to end
        ("It is 3.5 metres long. It is wet.", ["It is 3.5 metres long.", "It is wet."]),
        ("Fruit, e.g. apples, i.e. food. More.", ["Fruit, e.g. apples, i.e. food.", "More."]),
        ("At 5 p.m. a train left. At 6 p.m. The end.", ["At 5 p.m. a train left.", "At 6 p.m.", "The end."]),
        ("Fish, etc. on a table. Fish, etc. A table.", ["Fish, etc. on a table.", "Fish, etc.", "A table."]),
        ('A sign says "Stop." A car waits.', ['A sign says "Stop."', "A car waits."]),
        ("A shop (closed.) Rain falls.", ["A shop (closed.)", "Rain falls."]),
        ("It was made in 2010. 2 dogs look.", ["It was made in 2010.", "2 dogs look."]),
        ("1. A cat. 2. A dog.", ["1. A cat.", "2. A dog."]),
        ("No. 5 wins. The answer is no. The end.", ["No. 5 wins.", "The answer is no.", "The end."]),
        ("J. Doe and U.S. flags. It is I. Look.", ["J. Doe and U.S. flags.", "It is I.", "Look."]),
        ("A dog ... and a cat. Then... Nothing.", ["A dog ... and a cat.", "Then...", "Nothing."]),
        ("See www.example.com for it. Bye.", ["See www.example.com for it.", "Bye."]),
        ("A title\n\nA cat sleeps.", ["A title", "A cat sleeps."]),
        ("猫がいる。犬もいる。", ["猫がいる。", "犬もいる。"]),
        ("no stop at all", []),
        ("whole. and a rest", ["whole."]),
        ("", []),
        (". . .", ["."]),
    ],
)
def test_where_sentences_end(text, sentences):
    assert _sentences(text)[: len(sentences) or 1] == sentences


def test_a_token_cut_is_open_clip_s():
    text = "A grey cat sleeps. A dog barks at it, loudly, all the long day."
    ids, cut = fit(text, TOKENIZER, 10)
    assert cut
    theirs = TOKENIZER.batch([text], 12)[0].tolist()  # compared with open_clip's own in test_tokenizer
    assert [TOKENIZER.start_id, *ids, TOKENIZER.end_id] == theirs
    assert fit(text, TOKENIZER, 100) == (TOKENIZER.encode(text), False)


def test_a_sentence_cut_keeps_whole_sentences_as_many_as_fit():
    text = "A cat sleeps. Mr. Bean barks. A third one is much longer than that."
    encode = TOKENIZER.encode
    first, two = encode("A cat sleeps."), encode("A cat sleeps. Mr. Bean barks.")
    for room in range(1, len(encode(text)) + 2):
        ids, cut = fit(text, TOKENIZER, room, "sentence")
        assert len(ids) <= room
        assert cut == (room < len(encode(text)))
        wanted = encode(text) if not cut else two if room >= len(two) else first if room >= len(first) else None
        assert ids == (encode(text)[:room] if wanted is None else wanted)
    # The negative control: the same room ends within "Mr." or a sentence when cut at a token.
    assert fit(text, TOKENIZER, len(two) + 2, "token")[0] != two


def test_a_caption_without_a_stop_is_cut_at_a_token():
    text = "a very long line of words without any stop"
    assert fit(text, TOKENIZER, 4, "sentence") == (TOKENIZER.encode(text)[:4], True)
    assert fit("  ", TOKENIZER, 4, "sentence") == ([], False)
