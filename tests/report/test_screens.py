"""The page in a real browser: light and dark, on a desk and on a phone, with and without script, by keyboard."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from captioners.jobs.runs.report import report
from captioners.report.page import Section
from tests.report import chromium
from tests.runs_fixture import HOSTILE, make_run

pytestmark = pytest.mark.skipif(chromium.find() is None, reason="no Chromium here; install one to see the page")

TABLE = Section(
    title="Faithfulness",
    columns=("captioner", "claims true", "captions wholly true"),
    rows=[("a_captioner_with_a_long_name_" * 3, "94.1 % [93.0, 95.2]", "82.0 % [80.1, 83.9]")],
    note="95 % intervals over images.",
)
SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
OVERFLOWING = """[...document.querySelectorAll('body *')].filter(e => {
  const r = e.getBoundingClientRect();
  return r.width && (r.right > document.documentElement.clientWidth + 0.5 || r.left < -0.5) && !e.closest('.skip');
}).map(e => e.tagName + '.' + e.className).join(' ')"""

WORST_CONTRAST = """(() => {
      const light = c => c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
      const rgb = text => text.match(/[\\d.]+/g).map(Number)
        .map((v, i) => text.startsWith('color(') && i < 3 ? 255 * v : v);
      const behind = e => { for (; e; e = e.parentElement) {
        const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c.slice(0, 3); }
        return [255, 255, 255]; };
      let worst = [99, ''];
      for (const e of document.querySelectorAll('body *')) {
        const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        if (!own || !e.getClientRects().length || e.closest('svg, option')) continue;
        const [a, b] = [light(rgb(getComputedStyle(e).color).slice(0, 3)), light(behind(e))].sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05);
        if (ratio < worst[0]) worst = [ratio, e.tagName + '.' + e.className];
      }
      return worst; })()"""
"""The page's lowest ratio of a text's lightness to that behind it, and whose."""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    marks = ("true", "false", "unparseable")
    written = report(
        make_run(folder, members=3, draws=2),
        folder / "page.html",
        notes=["Drawn world: proves the pipeline, not magnitudes."],
        sections=[TABLE],
        judge=lambda row: marks[(row["index"] + row["draw"]) % 3],
    )
    assert written.missing == 0
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def pixels(png):
    return np.asarray(Image.open(BytesIO(png)).convert("L"), dtype=float)


def shows_itself(browser, page, size, dark):
    """Open a page and look: nothing overflows, is missing, is asked of the network or complained about, or is blank."""
    browser.open(page, **SIZES[size], dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    assert browser.run(OVERFLOWING) == ""
    assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth)") is True
    assert browser.run("document.scripts.length") == 1
    assert browser.complaints() == []
    assert browser.requests() == []
    seen = pixels(browser.screenshot())
    assert seen.std() > 8, "a blank page"
    corner = seen[:5, :5].mean()
    assert corner < 60 if dark else corner > 220


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_shows_itself_without_overflow_complaint_or_request(browser, page, size, dark):
    shows_itself(browser, page, size, dark)
    assert browser.run("document.querySelectorAll('article').length") == 24


def test_a_page_with_faults_would_be_found_out(browser, tmp_path):
    """The negative control of the test above: it overflows, asks, complains and is blank."""
    faulty = tmp_path / "faulty.html"
    faulty.write_text(
        "<meta name=viewport content='width=device-width'><p style='width:900px;height:9px'></p>"
        "<script src='missing.js'></script><script>null.x</script>"
    )
    browser.open(faulty, **SIZES["phone"])
    assert browser.run("document.documentElement.scrollWidth") > 390
    assert browser.run(OVERFLOWING) != ""
    assert len(browser.requests()) == 1
    assert any("null" in said for said in browser.complaints())
    assert pixels(browser.screenshot()).std() < 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_has_the_contrast_that_reading_needs(browser, page, dark):
    """WCAG 2.2, 1.4.3: 4.5 to 1, for every text of the page against what is behind it."""
    browser.open(page, dark=dark)
    worst = browser.run(WORST_CONTRAST)
    assert worst[0] >= 4.5, worst


SET = """(name, value) => { const field = document.forms[0].elements[name]; field.value = value;
  field.dispatchEvent(new Event('input', {bubbles: true})); }"""
SHOWN = "[...document.querySelectorAll('article')].filter(a => !a.hidden).length"


def test_the_filter_finds_members_flags_marks_and_words(browser, page):
    browser.open(page)
    assert browser.run("document.forms[0].hidden") is False
    browser.run(f"({SET})('flag', 'refused')")
    assert browser.run(SHOWN) == 2
    assert browser.run("document.querySelector('output').textContent") == "2 of 24 images"
    browser.run(f"({SET})('member', 'brief')")  # brief has no refused caption
    assert browser.run(SHOWN) == 0
    assert browser.run("document.getElementById('none').hidden") is False
    browser.run(f"({SET})('flag', '')")
    assert browser.run(SHOWN) == 24
    assert browser.run(
        "[...document.querySelectorAll('.member')].every(g => g.hidden === (g.dataset.member !== 'brief'))"
    )
    browser.run(f"({SET})('member', '')")
    browser.run(f"({SET})('text', 'COFFEE')")
    assert browser.run(SHOWN) == 1
    browser.run(f"({SET})('text', '')")
    browser.run(f"({SET})('flag', 'mark-false')")
    assert browser.run("document.querySelectorAll('li:not(.other) .mark.true').length") == 0
    assert browser.run("document.querySelectorAll('li:not(.other) .mark.false').length") > 5


def test_without_script_everything_is_there_and_the_filter_is_not(browser, page):
    browser.open(page, script=False)
    assert browser.run("getComputedStyle(document.forms[0]).display") == "none"
    assert browser.run(SHOWN) == 24


def test_a_caption_that_tries_to_be_html_is_read_as_text(browser, page):
    browser.open(page)
    assert browser.run(f"document.querySelector('.cards').textContent.includes({HOSTILE!r})") is True
    assert browser.run("document.scripts.length") == 1
    assert browser.heard("Page.javascriptDialogOpening") == []


def test_the_content_policy_stops_what_an_escape_would_miss(browser, page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("<footer>", "<script>document.title = 'taken'</script><footer>"))
    browser.open(broken)
    assert "captioners report" in browser.run("document.title")
    assert any("Content Security Policy" in said for said in browser.complaints())


def test_the_keyboard_reaches_the_captions_first_then_links_and_filter(browser, page):
    browser.open(page)
    focused = []
    for _ in range(9):
        browser.press("Tab")
        focused.append(browser.run("document.activeElement.name || document.activeElement.getAttribute('href')"))
    assert focused[:2] == ["#pictures", "#members"]
    assert focused[-3:] == ["member", "flag", "text"]
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("width", [320, 600, 768, 900, 1024, 1600])
def test_no_width_breaks_the_page_or_its_headings(browser, page, width):
    browser.open(page, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(OVERFLOWING) == ""
    # A heading of one word stands on one line.
    broken = """[...document.querySelectorAll('thead th, h2')].filter(e => {
      const head = e.closest('thead'), text = document.createRange();
      text.selectNodeContents(e);
      return !(head && getComputedStyle(head).position === 'absolute') && !e.textContent.includes(' ')
        && text.getClientRects().length > 1;
    }).map(e => e.textContent).join()"""
    assert browser.run(broken) == ""


def test_on_paper_the_filter_is_gone_and_captions_have_room(browser, page):
    browser.open(page, width=720)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.forms[0]).display") == "none"
    assert browser.run("Math.min(...[...document.querySelectorAll('.text')].map(e => e.clientWidth || 999))") > 300
    browser.ask("Emulation.setEmulatedMedia", media="")
