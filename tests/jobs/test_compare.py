"""captioners/jobs/compare/job.py: both captioners see the same, and the sentence says what was found."""

import json
from io import BytesIO

import pytest
from PIL import Image

from captioners.core.errors import UserError
from captioners.decoding.values import Beam, Sample
from captioners.jobs.compare.findings import Side
from captioners.jobs.compare.images import ComparedImage, general_images
from captioners.jobs.compare.job import compare, compare_captions
from tests.jobs.comparing import VOICES, ScriptedCaptioner, ScriptedScorer, picture, references

SIDES = (Side(name="a"), Side(name="b"))


def samples(count=24, **more):
    return [ComparedImage(key=f"k{n}", image=picture(n), references=references(n), **more) for n in range(count)]


def scripted(before="poor", after="good", **more):
    return ScriptedCaptioner("init", VOICES[before]), ScriptedCaptioner("result", VOICES[after], **more)


def test_yes_no_and_the_numbers_it_rests_on():
    found = compare(*scripted(), samples(), Beam(width=1))
    assert found.verdict == "YES"
    assert found.sentence.startswith("Did it get better? YES: CIDEr-D 0.00 -> ")
    assert "on 24 test images (same references and decoding); 95 % interval by paired bootstrap" in found.sentence
    worse = compare(*scripted("good", "poor"), samples(), Beam(width=1))
    assert worse.sentence.startswith("Did it get better? NO: CIDEr-D ")
    assert worse.main.change == -found.main.change


def test_the_same_captions_are_said_to_be_the_same():
    found = compare(*scripted("good", "good"), samples(), Beam(width=1))
    assert found.sentence.startswith("Did it get better? NO: all 24 captions are the same as before, CIDEr-D ")


@pytest.mark.parametrize(
    ("count", "told", "says"),
    [
        (5, True, "fewer than 8 images say nothing certain"),
        (1, True, "CIDEr-D needs references of two test images at least, and one has any"),
        (24, False, "none of 24 test images has a reference to be held against"),
    ],
)
def test_it_cannot_tell_and_says_why(count, told, says):
    images = [ComparedImage(key=one.key, image=one.image, references=one.references if told else ()) for one in
              samples(count)]  # fmt: skip
    found = compare(*scripted(), images, Beam(width=1))
    assert found.sentence.startswith("Did it get better? CAN'T TELL: ")
    assert says in found.sentence


def test_both_see_the_same_pictures_with_the_same_draws_one_after_the_other():
    before, after = scripted()
    compare(before, after, samples(9), Sample(top_p=0.9), seed=3)
    assert (before.opened, after.opened) == (0, 0)
    assert len(before.asked) == 9 + len(general_images())
    for one, other in zip(before.asked, after.asked, strict=True):
        assert (one.index, one.stream, one.decoding) == (other.index, other.stream, other.decoding)
        assert one.image.tobytes() == other.image.tobytes()
    assert len({request.stream for request in before.asked}) == len(before.asked)
    assert before.asked[0].stream.run_seed == 3


def test_a_captioner_is_closed_whatever_happens():
    before, after = scripted()

    def broken(_number):
        raise RuntimeError("out of memory")

    before.voice = broken
    with pytest.raises(RuntimeError):
        compare(before, after, samples(9), Beam(width=1))
    assert (before.opened, after.opened) == (0, 0)


def test_an_image_that_cannot_be_read_is_left_out_of_both_and_named():
    file = BytesIO()
    Image.new("RGB", (20, 20)).save(file, "PNG")
    images = [*samples(10), ComparedImage(key="cut", image=file.getvalue()[:50], references=("a cut picture",))]
    found = compare(*scripted(), images, Beam(width=1))
    assert len(found.rows) == 10
    assert len(found.skipped) == 1 and "cut: the file ends before the picture does" in found.skipped[0]
    with pytest.raises(UserError, match=r"not one of 1 test images could be read.*cut"):
        compare(*scripted(), images[-1:], Beam(width=1))


def test_a_decoding_that_one_of_them_cannot_do_is_refused_before_anything_opens():
    before, after = scripted(refuses="max_tokens 99 is more than result can write: 22 tokens")
    with pytest.raises(UserError, match=r"comparing by beam, width 4: max_tokens 99"):
        compare(before, after, samples(9), Beam(width=4))
    assert before.asked == []


def test_a_frozen_scorer_adds_its_measures_and_is_named():
    found = compare(*scripted(), samples(8), Beam(width=1), scorer=ScriptedScorer())
    measures = {one["metric"]: one for one in found.as_json()["scores"]}
    assert measures["CLIPScore"]["after"] == pytest.approx(2.5)
    assert measures["RefCLIPScore"]["after"] == pytest.approx(2 * 2.5 / 3.5)
    assert (measures["self-retrieval R@1"]["before"], measures["self-retrieval R@1"]["after"]) == (0, 1)
    assert "by scripted CLIP, frozen, neither of the two; self-retrieval among 8 images" in found.tables[0].text
    without = compare(*scripted(), samples(8), Beam(width=1))
    assert "No CLIPScore and no self-retrieval: no frozen scorer was given" in without.tables[0].text
    assert without.as_json()["scorer"] is None


def test_a_scorer_with_the_tower_of_either_is_refused():
    for tower in ("init", "result"):
        before, after = scripted()
        scorer = ScriptedScorer()
        scorer.tower_digest = "tower of its own"
        (before if tower == "init" else after).info = ScriptedCaptioner("x", None, tower="tower of its own").info
        with pytest.raises(UserError, match="scripted CLIP: has the image tower of x, which it is to judge"):
            compare(before, after, samples(8), Beam(width=1), scorer=scorer)


def test_what_was_forgotten_is_printed_side_by_side():
    found = compare(*scripted(knows_only="scenes of the drawn world"), samples(8), Beam(width=1))
    assert [key for key, _, _ in found.forgotten] == [one.key for one in general_images()]
    table = found.tables[-1]
    assert table.title == "What was forgotten"
    assert table.rows[0][1] == "a picture of something"
    assert "result knows only scenes of the drawn world" in table.note


def test_how_much_is_style():
    short = [" ".join(VOICES["good"](n).split()[:4]) for n in range(24)]
    long = [VOICES["good"](n) for n in range(24)]
    keys, told = [str(n) for n in range(24)], [references(n) for n in range(24)]
    found = compare_captions(keys, short, long, told, sides=SIDES)
    assert found.verdict == "YES"
    assert "So none of the gain is in the words chosen." in found.style
    assert "4.0 words before and 7.0 after. The references have 6.0." in found.tables[1].text
    assert "of the gain" not in compare_captions(keys, long, short, told, sides=SIDES).style
    assert "same references)" in found.sentence, "captions of unknown origin have no decoding"


def test_it_is_json_and_undefined_is_null():
    found = compare(*scripted(), samples(9), Beam(width=1))
    whole = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert whole["verdict"] == "YES" and len(whole["rows"]) == 9
    assert whole["rows"][0]["scores"]["CIDEr-D"][1] > 0
    assert whole["before"] == {"name": "init", "weights_digest": "digest of init"}
    bare = compare(*scripted(), [ComparedImage(key="k", image=picture(0))], Beam(width=1)).as_json(rows=False)
    assert json.loads(json.dumps(bare, allow_nan=False))["reference_length"] is None
    assert "rows" not in bare


def test_two_real_captioners(tmp_path):
    """The packaged captioner against random weights, on drawn scenes: it got better, by any measure."""
    from captioners.jobs.compare.images import choose_images
    from captioners.kinds.coca import CocaCaptioner

    chosen = choose_images("{kind: drawn, split: eval, voice: alt_text, captions: 5}", 12)
    told = []
    found = compare(
        CocaCaptioner("random-tiny"),
        CocaCaptioner("demo"),
        chosen.images,
        Beam(width=1, max_tokens=12),
        watch=lambda *said: told.append(said),
    )
    assert found.verdict == "YES"
    assert len(found.rows) == 12
    assert told[-1] == ("demo", 18, 18)
    again = compare(CocaCaptioner("demo"), CocaCaptioner("demo"), chosen.images, Beam(width=1, max_tokens=12))
    assert "all 12 captions are the same" in again.sentence
