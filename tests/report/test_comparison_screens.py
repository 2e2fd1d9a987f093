"""The pages of two captioners in a real browser: light and dark, on a desk and a phone; votes by key and button."""

import json
import time

import pytest

from captioners.jobs.compare.page import comparison_page
from captioners.jobs.compare.votes import blind_page, count_votes
from tests.jobs import test_compare_page as pages
from tests.jobs import test_compare_votes as votes
from tests.report import chromium
from tests.report.test_screens import SIZES, shows_itself
from tests.runs_fixture import HOSTILE

pytestmark = pytest.mark.skipif(chromium.find() is None, reason="no Chromium here; install one to see the page")

KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
SHOWN = "[...document.querySelectorAll('article')].filter(a => a.getClientRects().length)"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    forgotten = (("cat", "a close up of a cat", HOSTILE), ("rocket", "a rocket", "word" * 60))
    text = comparison_page(pages.mixed(forgotten=forgotten, decoding="beam, width 5"), pages.IMAGES)
    (folder / "comparison.html").write_text(text)
    text, key = blind_page(votes.found(), votes.IMAGES)
    (folder / "blind.html").write_text(text)
    (folder / "blind.key.json").write_text(key.model_dump_json())
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def press(browser, key):
    for kind in ("keyDown", "keyUp"):
        browser.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])


@pytest.mark.parametrize("name", ["comparison", "blind"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_shows_itself_without_overflow_complaint_or_request(browser, places, size, dark, name):
    shows_itself(browser, places / f"{name}.html", size, dark)


def test_the_search_leaves_what_fits_and_hides_empty_groups(browser, places):
    browser.open(places / "comparison.html")
    everything = browser.run(f"{SHOWN}.length")
    browser.run(
        "(() => { const f = document.forms[0].elements.text; f.value = 'CLOSE UP of a cat';"
        " f.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert everything > 40
    assert browser.run(f"{SHOWN}.length") == 1
    assert browser.run("[...document.querySelectorAll('section.group')].filter(s => !s.hidden).length") == 1


def test_without_script_everything_stands_there(browser, places):
    browser.open(places / "comparison.html", script=False)
    assert browser.run("getComputedStyle(document.forms[0]).display") == "none"
    browser.open(places / "blind.html", script=False)
    assert browser.run(f"{SHOWN}.length") == votes.COUNT
    assert browser.run("getComputedStyle(document.forms[0]).display") == "none"


def test_votes_by_keyboard_and_button_are_those_that_are_downloaded_and_counted(browser, places, tmp_path):
    browser.open(places / "blind.html")
    browser.run("localStorage.clear()")
    browser.open(places / "blind.html")
    browser.ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    order = json.loads(browser.run("JSON.stringify([...document.querySelectorAll('.ballot')].map(b => b.dataset.key))"))
    assert browser.run(f"{SHOWN}.map(a => a.dataset.key).join()") == order[0]
    press(browser, "ArrowLeft")
    press(browser, "ArrowRight")
    press(browser, "ArrowUp")  # back, to change one's mind
    assert browser.run("document.forms[0].elements.right.getAttribute('aria-pressed')") == "true"
    press(browser, "ArrowDown")
    browser.run("document.forms[0].elements.right.click()")
    assert browser.run("document.querySelector('output').textContent") == f"Image 4 of {votes.COUNT}, 3 votes"
    browser.open(places / "blind.html")  # a closed tab loses nothing
    assert browser.run(f"{SHOWN}.map(a => a.dataset.key).join()") == order[3]
    browser.run("document.forms[0].elements.download.click()")
    deadline = time.monotonic() + 60
    while not (files := list(tmp_path.glob("votes-*.json"))):
        assert time.monotonic() < deadline, "nothing was downloaded"
        time.sleep(0.05)
    told = json.loads(files[0].read_text())
    assert told["votes"] == {order[0]: "left", order[1]: "tie", order[2]: "right"}
    counted = count_votes(files, [places / "blind.key.json"])
    assert (counted.found.images, counted.found.tie) == (3, 1)
    browser.run("localStorage.clear()")


def test_after_the_last_image_the_votes_are_asked_for(browser, places):
    browser.open(places / "blind.html")
    for _ in range(votes.COUNT + 2):
        press(browser, "ArrowDown")
    assert browser.run(f"{SHOWN}.length") == 0
    assert browser.run("document.getElementById('end').hidden") is False
    assert browser.run("document.querySelector('output').textContent") == f"All images seen, {votes.COUNT} votes"
    assert browser.run("document.forms[0].elements.left.disabled") is True
    browser.run("localStorage.clear()")
