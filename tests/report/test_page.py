"""captioners/report/page.py: one file, everything inside, nothing of a caption but its text."""

import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from captioners.report.histogram import histograms
from captioners.report.page import Caption, Member, Page, Picture, Reason, Section, render

HOSTILE = "</style></script><script>alert(1)</script><img src=x onerror=alert(2)>\"' {{ 7*7 }} {% raw %} javascript:"


def a_page(text="a red circle", **more):
    (drawing,) = histograms([{3: 1}])
    counts = {"read": 3, "captioned": 1, "filtered": 1, "quarantined": 1, "rows": 2}
    member = Member(name=text, about=text, **counts, flags={text: 1}, histogram=drawing, provenance={text: text})
    captions = {
        text: [Caption(draw=0, text=text, logprob=-1.5, flags=[text]), Caption(draw=1, text=text, refused=True)]
    }
    fields = {
        "title": text,
        "summary": text,
        "members": [member],
        "pictures": [Picture(key=text, shard=text, captions=captions, thumbnail=b"\xff\xd8", width=9, height=9)],
        "pictures_about": text,
        "quarantine": [Reason(name=text, count=1, example=text)],
        "sections": [Section(title=text, text=text, columns=[text, text], rows=[[text, text]], note=text)],
        "notes": [text],
        "provenance": {text: text},
        "recipe": text,
        "version": text,
    }
    return Page(**fields | more)


class Reader(HTMLParser):
    """Collects tags with attributes, and checks that they are closed in order."""

    EMPTY = ("meta", "link", "img", "input", "wbr")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_hostile_text_stays_text_everywhere_on_the_page():
    plain, hostile = Reader(render(a_page("innocent"))), Reader(render(a_page(HOSTILE)))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    names = [sorted(attributes) for _, attributes in hostile.tags]
    assert names == [sorted(attributes) for _, attributes in plain.tags]
    assert hostile.text.count(HOSTILE) == plain.text.count("innocent")
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)


def test_an_unescaped_page_would_not_pass_that_test():
    """The negative control."""
    unescaped = render(a_page("innocent")).replace("innocent", "<b>innocent</b>")
    with pytest.raises(AssertionError):
        assert [tag for tag, _ in Reader(unescaped).tags] == [tag for tag, _ in Reader(render(a_page("innocent"))).tags]


def test_the_page_points_nowhere_but_into_itself():
    reader = Reader(render(a_page()))
    links = [value for _, attributes in reader.tags for name, value in attributes.items() if name in ("href", "src")]
    assert len(links) > 5
    assert all(link.startswith(("#", "data:")) for link in links)
    ids = {attributes["id"] for _, attributes in reader.tags if "id" in attributes}
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    assert "url(" not in render(a_page())
    assert "@import" not in render(a_page())


def test_the_content_policy_allows_its_own_style_and_script_and_nothing_else():
    text = render(a_page())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1].replace("&#39;", "'")
    for tag in ("style", "script"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S)[1]
        digest = b64encode(sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert not re.search(r"\sstyle=", text)


def test_a_refused_caption_is_struck_through_and_flags_stand_beside_the_text():
    text = render(a_page())
    assert '<s>a red circle</s> <span class="flag strong">refused</span>' in text
    assert 'a red circle <span class="flag">a red circle</span>' in text
    assert "−1.50" in text
    assert '<option value="refused">' in text


@pytest.mark.parametrize("mark", ["true", "false", "unparseable"])
def test_a_judged_caption_says_so_to_eyes_and_ears(mark):
    picture = Picture(key="k", shard="s", captions={"m": [Caption(draw=0, text="t", mark=mark)]})
    member = a_page("m").members
    text = render(a_page(pictures=[picture], members=member))
    assert f'aria-label="judged {mark}"' in text
    assert f'<option value="mark-{mark}">judged {mark}</option>' in text
    assert "judged" not in render(a_page())


def test_pictures_are_inside_and_say_what_they_show():
    images = [attributes for tag, attributes in Reader(render(a_page())).tags if tag == "img"]
    assert b64decode(images[0]["src"].removeprefix("data:image/jpeg;base64,")) == b"\xff\xd8"
    assert images[0]["alt"] == "a red circle, captioned: a red circle"


def test_a_picture_that_is_gone_says_why_in_its_place():
    picture = Picture(key="k", shard="s", captions={}, missing="No picture here: it is <gone>")
    text = render(a_page(pictures=[picture]))
    assert "No picture here: it is &lt;gone&gt;" in text
    assert "<img" not in text


def test_sums_that_do_not_hold_are_said_aloud():
    member = Member(**{**vars(a_page("m").members[0]), "problem": "read 3 is not captioned 1 + ..."})
    assert "m: the sums do not hold: read 3 is not captioned 1" in render(a_page(members=[member]))
    assert "do not hold" not in render(a_page())


def test_empty_captions_are_shown_as_empty():
    picture = Picture(key="k", shard="s", captions={"m": [Caption(draw=0, text="")]})
    assert "(empty)" in render(a_page(pictures=[picture], members=a_page("m").members))
