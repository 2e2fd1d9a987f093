"""What a voice has gained, on captioners whose worth is known: the voices themselves, looking and not looking."""

import dataclasses
from math import isnan

import numpy as np
import pytest

from captioners.data.drawn_scene import scene
from captioners.data.drawn_voices import captions
from captioners.jobs.demo.measure import Layer
from captioners.jobs.demo.voices import as_json, gain, gains, markdown, section, write
from captioners.jobs.measure.truth import judged

COUNT = 40
SCENES = [scene(0, "eval", index) for index in range(COUNT)]
KEYS = [("eval.tar", f"{index:08d}") for index in range(COUNT)]
VOICES = ("detailed", "relational", "count")
REFERENCES = {
    key: {voice: captions(one, voice, 5, 0) for voice in VOICES} for key, one in zip(KEYS, SCENES, strict=True)
}


def _layer(voice, shift=0):
    """A captioner that says what `voice` says, from draws of its own, of the scene `shift` places on."""
    said = [captions(SCENES[(k + shift) % COUNT], voice, 1, 1) for k in range(COUNT)]
    own = [judged(texts, one) for texts, one in zip(said, SCENES, strict=True)]
    return Layer(keys=KEYS, captions=said, own=own, shuffled=[])


def _turned(layer, order):
    """The same captioner, its images in another order or some of them missing."""
    parts = {name: [getattr(layer, name)[k] for k in order] for name in ("keys", "captions", "own")}
    return Layer(**parts, shuffled=[])


@pytest.fixture(scope="module")
def layers():
    return {"pretrained-greedy": _layer("alt_text"), **{f"{voice}-greedy": _layer(voice) for voice in VOICES}}


@pytest.fixture(scope="module")
def found(layers):
    return gains(layers, VOICES, REFERENCES)


def test_a_captioner_that_has_learned_its_voice_is_better(found):
    for one in found:
        assert one.cider_d.verdict == "YES" and one.cider_d.images == COUNT and one.references == 5
        assert one.claims.after == 1.0 and one.claims.verdict == "YES"
        assert one.cider_d.after > 1.3 * one.elsewhere


def test_fluent_captions_of_other_scenes_are_found_out(layers):
    """The negative control: the manner is learned, nothing is looked at."""
    one = gain("detailed", layers["pretrained-greedy"], _layer("detailed", shift=1), REFERENCES)
    looked = gain("detailed", layers["pretrained-greedy"], layers["detailed-greedy"], REFERENCES)
    assert one.cider_d.after < 1.3 * one.elsewhere and one.cider_d.after < looked.cider_d.after
    assert one.claims.after < 0.7
    assert one.claims.verdict != "YES"


def test_nothing_learned_is_no_gain(layers):
    same = layers["pretrained-greedy"]
    one = gain("count", same, same, REFERENCES)
    assert (one.cider_d.change, one.cider_d.verdict) == (0, "NO")
    assert (one.claims.change, one.facts.change) == (0, 0)


def test_the_other_way_round_it_is_worse(layers):
    one = gain("count", layers["count-greedy"], layers["pretrained-greedy"], REFERENCES)
    assert one.cider_d.verdict == "NO" and one.cider_d.high < 0


def test_images_are_paired_by_their_keys(layers):
    before, after = layers["pretrained-greedy"], layers["relational-greedy"]
    straight = gain("relational", before, after, REFERENCES)
    turned = gain("relational", before, _turned(after, range(COUNT - 1, -1, -1)), REFERENCES)
    assert turned == straight
    fewer = gain("relational", before, _turned(after, range(0, COUNT, 2)), REFERENCES)
    halves = [_turned(layer, range(0, COUNT, 2)) for layer in (before, after)]
    assert fewer == gain("relational", *halves, REFERENCES)
    assert fewer.cider_d.images == COUNT // 2


def test_claims_and_facts_are_those_of_a_count_by_hand(layers, found):
    read = [c.true for image in layers["pretrained-greedy"].own for v in image.verdicts for c in v.claims]
    read = [true for true in read if true is not None]
    assert found[0].claims.before == pytest.approx(sum(read) / len(read))
    told = [len(image.verdicts[0].facts) / image.num_facts for image in layers["detailed-greedy"].own]
    assert found[0].facts.after == pytest.approx(np.mean(told))


def test_a_captioner_that_claims_nothing_has_no_share_of_true_claims(layers):
    before = layers["pretrained-greedy"]
    mute = dataclasses.replace(before, own=[judged(["lorem ipsum"], one) for one in SCENES])
    one = gain("count", mute, layers["count-greedy"], REFERENCES)
    assert isnan(one.claims.before) and one.claims.verdict == "CAN'T TELL"
    assert one.facts.before == 0
    alone = dataclasses.replace(before, own=[*before.own[:1], *mute.own[1:]])  # most resamples hold no claim at all
    assert not isnan(gain("count", alone, layers["count-greedy"], REFERENCES).claims.before)
    assert "–" in section([one]).rows[0][4]
    assert as_json([one])[0]["measures"][1]["before"] is None


def test_the_table_is_rectangular_on_the_page_and_in_markdown(found, tmp_path):
    table = section(found)
    assert {len(row) for row in table.rows} == {len(table.columns)}
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(VOICES)
    assert {line.count("|") for line in lines} == {len(table.columns) + 1}
    write(tmp_path, found, "a notice")
    assert (tmp_path / "voices.md").read_text().endswith("\n\nA notice.\n")
    written = (tmp_path / "voices.md").read_text()
    cider = found[0].cider_d
    assert f"| {cider.before:.2f} → {cider.after:.2f} [{cider.low:+.2f}, {cider.high:+.2f}] | YES |" in written
