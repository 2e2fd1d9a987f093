"""captioners/jobs/compare/page.py: which images stand on the page, in what order, and nothing of a caption but text."""

import re

import pytest

from captioners.jobs.compare.findings import Side
from captioners.jobs.compare.images import ComparedImage
from captioners.jobs.compare.job import compare_captions
from captioners.jobs.compare.page import comparison_page, thumbnail
from captioners.metrics.references import CIDER_D
from tests.jobs.comparing import VOICES, picture, references
from tests.report.test_page import HOSTILE, Reader

COUNT = 30
IMAGES = {f"k{n:02d}": ComparedImage(key=f"k{n:02d}", image=picture(n), references=references(n)) for n in range(COUNT)}


def found(before, after, told=references, **more):
    sides = Side(name="init", licences={"weights": "CC0"}), Side(name="result")
    return compare_captions(list(IMAGES), before, after, [told(n) for n in range(COUNT)], sides=sides, **more)


def mixed(**more):
    """Ten images lost, ten gained, ten stayed."""
    before = [VOICES["good" if n < 20 else "poor"](n) for n in range(COUNT)]
    after = [VOICES["good" if n >= 10 else "poor"](n) for n in range(COUNT)]
    return found(before, after, **more)


def keys_of(text, title):
    section = re.search(rf'<section id="group-{title}".*?</section>', text, re.S)
    return re.findall(r"<h3>(.*?)</h3>", section[0]) if section else None


def test_the_worst_come_first_then_the_best_then_a_sample():
    page = mixed()
    text = comparison_page(page, IMAGES)
    worst, best = keys_of(text, "worst-regressions"), keys_of(text, "biggest-gains")
    assert worst is not None and best is not None
    changes = {row.key: row.change(CIDER_D.name) for row in page.rows}
    assert [changes[key] for key in worst] == sorted(change for change in changes.values() if change < 0)
    assert [changes[key] for key in best] == sorted((c for c in changes.values() if c > 0), reverse=True)
    sample = keys_of(text, "random-sample")
    assert len(sample) == 24 and sample != sorted(sample)
    assert text.index("Worst regressions</h2>") < text.index("Biggest gains</h2>") < text.index("Random sample</h2>")
    assert len(keys_of(comparison_page(page, IMAGES, each=3), "worst-regressions")) == 3


def test_under_an_image_stand_both_captions_references_and_scores():
    text = comparison_page(mixed(), IMAGES)
    card = re.search(r"<article>(?:(?!</article>).)*<h3>k00</h3>.*?</article>", text, re.S)[0]
    for said in (*references(0), "a picture of something", "<dt>CIDEr-D</dt>", "<dt>ROUGE-L</dt>", "<dt>length</dt>"):
        assert said in card
    assert 'class="down">−' in card
    assert card.index(VOICES["good"](0)) < card.index("a picture of something"), "before stands before after"


def test_without_references_there_is_a_sample_and_no_ranking():
    before, after = ([VOICES[voice](n) for n in range(COUNT)] for voice in ("poor", "good"))
    text = comparison_page(found(before, after, told=lambda _: ()), IMAGES)
    assert keys_of(text, "worst-regressions") is None
    assert len(keys_of(text, "random-sample")) == 24
    assert "CAN&#39;T TELL" in text and "references</summary>" not in text


def test_what_was_forgotten_is_shown_with_the_photos():
    forgotten = (("cat", "a close up of a cat", "a large red circle"), ("gone", "x", "y"))
    text = comparison_page(mixed(forgotten=forgotten), IMAGES)
    assert keys_of(text, "what-was-forgotten") == ["cat", "gone"]
    assert "a close up of a cat" in text


def test_the_page_says_what_it_rests_on():
    page = mixed(decoding="beam, width 5", skipped=("a.jpg: the file is empty", *["b"] * 5))
    text = comparison_page(page, IMAGES, provenance={"images": "a folder"}, notes=["Drawn world."])
    for said in ("beam, width 5", "licence of the weights", "6 images could not be read: a.jpg: the file is empty",
                 "and 3 more", "a folder", "Drawn world.", "ptb-like-2"):  # fmt: skip
        assert said in text


def test_hostile_text_stays_text_and_the_page_points_nowhere():
    def page(text):
        captions = [f"{text} {n}" for n in range(COUNT)]
        return comparison_page(
            found(captions, captions[::-1], told=lambda _: (text,), forgotten=(("cat", text, text),), decoding=text),
            IMAGES,
            notes=[text],
        )

    plain, hostile = Reader(page("innocent")), Reader(page(HOSTILE))
    assert sorted({tag for tag, _ in hostile.tags}) == sorted({tag for tag, _ in plain.tags})
    assert len([tag for tag, _ in hostile.tags if tag == "script"]) == 1
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)
    links = [value for _, attributes in hostile.tags for name, value in attributes.items() if name in ("href", "src")]
    assert all(link.startswith(("#", "data:")) for link in links)
    ids = {attributes["id"] for _, attributes in hostile.tags if "id" in attributes}
    assert {link[1:] for link in links if link.startswith("#")} <= ids


@pytest.mark.parametrize("pictures", [True, False])
def test_pictures_are_inside_or_left_out(pictures):
    assert ("data:image/jpeg" in comparison_page(mixed(), IMAGES, pictures=pictures)) is pictures


def test_a_picture_that_is_gone_says_why():
    gone = thumbnail(ComparedImage(key="k", image=b"no picture"), 64, 70)
    assert "not a picture of a known format" in gone.missing
    wide = thumbnail(ComparedImage(key="k", image=picture(1).resize((200, 50))), 64, 70)
    assert (wide.width, wide.height) == (64, 16)
