"""captioners/data/drawn_spans.py: each clause is found where it stands, and nothing else is marked."""

from itertools import pairwise

import pytest

from captioners.data.drawn_check import check
from captioners.data.drawn_scene import Scene, Thing, scene
from captioners.data.drawn_spans import clause_spans, things_in_words
from captioners.data.drawn_voices import captions

RED = Thing(shape="circle", colour="red", size="large", texture="striped", x=16, y=16)
BLUE = Thing(shape="square", colour="blue", size="small", texture="plain", x=48, y=48)
TWO = Scene(0, "eval", 0, "white", (RED, BLUE))


def marked(caption, of=TWO):
    return [(caption[start:stop], verdict) for start, stop, verdict in clause_spans(caption, of)]


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("a red circle and a green square", [("a red circle", "true"), ("a green square", "false")]),
        ("A Red  Circle, with A BLUE square.", [("A Red  Circle", "true"), ("A BLUE square", "true")]),
        ("a photo of a red circle; nice!", [("a photo of a red circle", "true"), ("nice", "unparseable")]),
        ("İ and a red circle", [("İ", "unparseable"), ("a red circle", "true")]),
        ("", []),
        (" . , and", []),
    ],
)
def test_a_clause_is_marked_where_it_stands(caption, found):
    assert marked(caption) == found


def test_spans_are_those_of_the_checker_in_order_for_every_voice():
    for index in range(40):
        drawn = scene(7, "eval", index)
        for voice in ("alt_text", "short", "detailed", "relational", "count", "paraphrased"):
            for caption in captions(drawn, voice, 2, seed=1):
                spans = clause_spans(caption, drawn)
                assert [verdict for _, _, verdict in spans] == [c.verdict for c in check(caption, drawn).clauses]
                assert all(one[1] <= other[0] for one, other in pairwise(spans))


def test_things_are_said_with_their_places():
    assert things_in_words(TWO) == ["a large striped red circle, top left", "a small plain blue square, centre"]
