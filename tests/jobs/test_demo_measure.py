"""The demo's measures on captions whose truth is known: what a voice says itself, and what it says of other scenes."""

from math import nan

import pytest

from captioners.data.drawn_scene import scene
from captioners.data.drawn_voices import captions
from captioners.jobs.demo.measure import Layer, finding, sections, share
from captioners.jobs.measure.truth import judged
from captioners.metrics.intervals import Interval

SCENES = [scene(0, "eval", index) for index in range(60)]


def _layer(voice, draws=1, shift=0):
    """A captioner that says what `voice` says, of the scene `shift` places on."""
    said = [captions(SCENES[(k + shift) % 60], voice, draws, 0) for k in range(60)]
    return Layer(
        keys=[("drawn", str(k)) for k in range(60)],
        captions=said,
        own=[judged(texts, one) for texts, one in zip(said, SCENES, strict=True)],
        shuffled=[judged(texts, SCENES[(k + 30) % 60]) for k, texts in enumerate(said)],
    )


@pytest.fixture(scope="module")
def layers():
    return {
        "pretrained-greedy": _layer("alt_text"),
        "detailed-greedy": _layer("detailed"),
        "detailed-top_p": _layer("detailed", 5),
        "relational-greedy": _layer("relational", shift=1),  # looks at the wrong scene
        "relational-top_p": _layer("relational", 5),
    }


def test_true_captions_reach_the_goal_and_are_false_of_other_scenes(layers):
    assert layers["detailed-greedy"].true.value == 1.0
    assert layers["detailed-greedy"].true_of_others.value < 0.7
    line = finding(layers, "detailed")
    assert line.startswith("detailed: 100.0") and "is reached" in line and "do not touch" in line


def test_a_captioner_that_does_not_look_is_found_out(layers):
    """The negative control: fluent captions of other scenes are no better than chance."""
    line = finding(layers, "relational")
    assert "the goal of 90 % is not reached" in line and "intervals touch" in line


def test_what_cannot_be_read_is_counted_apart():
    one = judged(["a red circle, lorem ipsum"], SCENES[0]).verdicts[0]
    assert [claim.true for claim in one.claims if claim.kind == "clause"] == [None]
    assert {claim.kind for claim in one.claims} == {"shape", "colour", "clause"}


def test_the_tables_are_rectangular_and_hold_every_member(layers):
    tables = sections(layers, ("detailed", "relational"))
    assert len(tables) == 3
    for table in tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert [row[0] for row in tables[0].rows] == ["pretrained", "detailed", "relational"]
    assert [row[0] for row in tables[1].rows] == [name for name in layers if name != "pretrained-greedy"]


def test_shares_are_written_with_their_intervals():
    assert share(Interval(0.912, 0.899, 0.924, 300)).replace("\u00a0", " ") == "91.2 % [89.9, 92.4]"
    assert share(Interval(0.5, nan, nan, 1)).replace("\u00a0", " ") == "50.0 %"
    assert share(Interval(nan, nan, nan, 0)) == "–"
