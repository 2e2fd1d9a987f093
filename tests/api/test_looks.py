"""Galleries and reports: readable without a browser, harmless in one, and small."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import captioners
from captioners.core.errors import ImageError, UserError
from tests.runs_fixture import HOSTILE, make_run

SAMPLES = sorted((Path(captioners.__file__).parent / "samples").glob("*.jpg"))


class Tags(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]


def test_a_gallery_shows_each_picture_with_all_that_is_said_of_it():
    shown = captioners.gallery(SAMPLES[:2], one=["a", "b"], several=[["c", "d"], []])
    assert repr(shown).splitlines() == [SAMPLES[0].name, "  one: a", "  several: c", "  several: d",
                                        SAMPLES[1].name, "  one: b"]  # fmt: skip
    tags = Tags(shown._repr_html_())
    assert tags.tags.count("img") == 2
    assert all(value.startswith("data:image/jpeg;base64,") for _, name, value in tags.attributes if name == "src")
    assert [value for _, name, value in tags.attributes if name == "alt"] == [
        f"{SAMPLES[0].name}, captioned: a",
        f"{SAMPLES[1].name}, captioned: b",
    ]


def test_pictures_are_made_small_and_may_be_of_any_sort():
    image = Image.open(SAMPLES[0])
    shown = captioners.gallery([image, SAMPLES[0].read_bytes(), str(SAMPLES[0])], side=40)
    assert [(picture.width, picture.height) for picture in shown.pictures] == [
        (40, 40 * image.height // image.width)
    ] * 3
    assert [picture.key for picture in shown.pictures] == ["0", "1", SAMPLES[0].name]
    assert len(shown._repr_html_()) < 12_000
    assert len(captioners.gallery(Image.new("RGBA", (5, 5))).pictures) == 1


def test_what_is_said_stays_text():
    shown = captioners.gallery(SAMPLES[:1], keys=[HOSTILE], **{HOSTILE: [HOSTILE]})
    tags = Tags(shown._repr_html_())
    assert set(tags.tags) <= {"div", "figure", "img", "figcaption", "small", "b"}
    assert {name for _, name, _ in tags.attributes} <= {"style", "src", "width", "height", "alt"}
    assert "<script" not in shown._repr_html_()


def test_lists_of_another_length_and_broken_pictures_are_told():
    with pytest.raises(UserError, match="after: 1 for 2 pictures; give one entry for each picture"):
        captioners.gallery(SAMPLES[:2], after=["a"])
    with pytest.raises(UserError, match="keys: 1 for 2"):
        captioners.gallery(SAMPLES[:2], keys=["a"])
    with pytest.raises(ImageError):
        captioners.gallery([b"no picture"])


def test_a_report_is_a_path_and_shows_its_first_pictures(tmp_path, monkeypatch):
    make_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    report = captioners.open_run("broad-and-brief").report()
    page = Path(report)
    assert (str(report), os.fspath(report), page.name) == (str(page), str(page), "report.html")
    text = report._repr_html_()
    tags = Tags(text)
    assert tags.tags.count("img") == 8 < page.read_text().count("<img src")
    assert [value for tag, name, value in tags.attributes if (tag, name) == ("a", "href")] == [str(page)]
    assert "(refused)" in captioners.Gallery(report.gallery.pictures).__repr__() or "(refused)" not in text
    assert len(text) < 150_000


def test_a_link_is_never_a_script():
    hostile = captioners.Report('javascript:alert(1)//"><script>')
    tags = Tags(hostile._repr_html_())
    assert tags.tags == ["p", "a"]
    (href,) = [value for _, name, value in tags.attributes if name == "href"]
    assert re.fullmatch(r"[A-Za-z0-9%/._-]+", href)
    assert Tags(captioners.Report("s3://bucket/report.html")._repr_html_()).tags == ["p", "code"]
