"""The page of an ablation in a real browser: light and dark, on desk, phone and paper, by keyboard, without script."""

import pytest

from captioners.report.ablation import Overlap
from captioners.report.ablation_page import render_ablation
from tests.report import chromium
from tests.report.an_ablation import an_ablation
from tests.report.test_screens import OVERFLOWING, SIZES, WORST_CONTRAST, shows_itself

pytestmark = pytest.mark.skipif(chromium.find() is None, reason="no Chromium here; install one to see the page")

NAMES = "[...document.querySelectorAll('#table tbody th')].map(e => e.childNodes[1].textContent.trim())"
SORTED = "[...document.querySelectorAll('#table thead th')].map(e => e.getAttribute('aria-sort'))"
SEEN = "[...document.querySelectorAll('article.seen')].map(e => Boolean(e.getClientRects().length))"
# Captions far longer than a phone is wide, and an arm's name that has no space to break at.
LONG = " w" + "o" * 90


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "ablation.html"
    file.write_text(render_ablation(an_ablation(LONG)))
    return file


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def press(browser, key, code):
    for kind in ("keyDown", "keyUp"):
        browser.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


def enter(browser):
    for kind in ("keyDown", "keyUp"):
        text = {"text": "\r"} if kind == "keyDown" else {}
        browser.ask("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, **text)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_shows_itself_without_overflow_complaint_or_request(browser, page, size, dark):
    shows_itself(browser, page, size, dark)
    worst = browser.run(WORST_CONTRAST)
    assert worst[0] >= 4.5, worst


@pytest.mark.parametrize("width", [320, 600, 768, 897, 1024, 1600])
def test_no_width_breaks_the_page_also_with_all_metrics(browser, page, width):
    browser.open(page, width=width)
    outside = OVERFLOWING.replace("'.skip'", "'.skip, .scroll'")  # a wide table scrolls in its place
    assert browser.run(outside) == ""
    browser.run("document.getElementById('every').click()")
    assert browser.run(outside) == ""
    assert browser.run("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [390, 1280])
def test_many_arms_tasks_and_captioners_scroll_in_their_places(browser, tmp_path, width):
    found = an_ablation()
    names = [f"a_captioner_with_a_long_name_{place}" for place in range(12)]
    many = {f"retrieval/{name}@5": {"0": 0.5, "1": 0.6} for name in names}
    arms = [
        arm.model_copy(update={"name": f"{arm.name}_{at}", "probe": {"0": many}}) for at in (1, 2) for arm in found.arms
    ]
    wide = Overlap(title="equal captions", captioners=tuple(names), values=((0.5,) * 12,) * 12)
    columns = tuple(column.model_copy(update={"default": True}) for column in found.columns)
    file = tmp_path / "wide.html"
    changes = {"arms": tuple(arms), "overlap": (wide,), "columns": columns, "gallery": ()}
    file.write_text(render_ablation(found.model_copy(update=changes)))
    browser.open(file, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(OVERFLOWING.replace("'.skip'", "'.skip, .scroll'")) == ""


def test_a_drawing_keeps_every_word_inside(browser, page):
    browser.open(page, **SIZES["phone"])
    outside = """[...document.querySelectorAll('svg.plot text')].filter(e => {
      const a = e.getBoundingClientRect(), b = e.closest('figure').getBoundingClientRect();
      return a.left < b.left - 1 || a.right > b.right + 1; }).map(e => e.textContent).join()"""
    assert browser.run(outside) == ""


def test_a_head_sorts_by_mouse_and_by_keyboard_and_says_so(browser, page):
    browser.open(page)
    declared = browser.run(NAMES)
    heads = browser.run("[...document.querySelectorAll('#table thead th')].map(e => e.textContent)")
    column = next(place for place, head in enumerate(heads) if head.startswith("facts told"))
    told = f"[...document.querySelectorAll('#table tbody tr')].map(r => Number(r.cells[{column}]?.dataset.value ?? -1))"
    browser.run(f"document.querySelectorAll('#table thead button')[{column}].click()")
    found = browser.run(told)
    assert found == sorted(found, reverse=True)
    assert browser.run(SORTED)[column] == "descending"
    assert browser.run(SORTED).count("none") == len(heads) - 1
    browser.run(f"document.querySelectorAll('#table thead button')[{column}].focus()")
    enter(browser)
    found = browser.run(told)
    there = [value for value in found if value >= 0]
    assert there == sorted(there)
    assert found[len(there) :] == [-1] * (len(found) - len(there)), "what is missing stands last, whichever way"
    assert browser.run(SORTED)[column] == "ascending"
    assert sorted(browser.run(NAMES)) == sorted(declared) != browser.run(NAMES)


def test_on_a_phone_the_table_is_sorted_by_choice(browser, page):
    browser.open(page, **SIZES["phone"])
    declared = browser.run(NAMES)
    choose = """(name, value) => { const field = document.getElementById('choices').elements[name]; field.value = value;
      field.dispatchEvent(new Event('input', {bubbles: true})); }"""
    assert browser.run("document.querySelector('.sorting').getClientRects().length") == 1
    at = browser.run("[...document.querySelector('[name=by]').options].find(o => o.text === 'facts told').value")
    browser.run(f"({choose})('by', '{at}')")
    assert browser.run(NAMES)[0] == "five_x1"
    browser.run(f"({choose})('by', '')")
    assert browser.run(NAMES) == declared


def test_all_metrics_are_a_click_away_and_need_no_script(browser, page):
    shown = "[...document.querySelectorAll('#table thead th')].filter(e => e.getClientRects().length).length"
    browser.open(page, script=False)
    few = browser.run(shown)
    browser.run("document.getElementById('every').checked = true")
    assert browser.run(shown) == few + 3


def test_one_image_is_picked_by_arrow_key_and_one_arm_by_choice(browser, page):
    browser.open(page)
    assert browser.run(SEEN) == [True] + [False] * 5
    browser.run("document.querySelector('.thumb input').focus()")
    press(browser, "ArrowRight", 39)
    assert browser.run(SEEN) == [False, True] + [False] * 4
    assert browser.run("document.querySelectorAll('.thumb img').length") == 6
    browser.run(
        "(() => { const field = document.getElementById('pick').elements.arm; field.value = 'detailed_5';"
        " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    arms = "[...document.querySelectorAll('.arm')].filter(e => e.getClientRects().length).map(e => e.dataset.arm)"
    assert browser.run(arms) == ["detailed_5"]


def test_without_script_every_image_is_there_and_what_would_do_nothing_is_not(browser, page):
    browser.open(page, script=False)
    assert browser.run(SEEN) == [True] * 6
    assert browser.run("getComputedStyle(document.getElementById('pick')).display") == "none"
    assert browser.run("[...document.querySelectorAll('.sorting')].every(e => !e.getClientRects().length)") is True


@pytest.mark.parametrize("size", SIZES)
def test_a_screen_reader_meets_tables_with_heads_and_drawings_with_words(browser, page, size):
    browser.open(page, **SIZES[size])
    nodes = browser.ask("Accessibility.getFullAXTree")["nodes"]
    heard = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    roles = [role for role, _ in heard]
    assert roles.count("table") >= 6
    assert roles.count("rowheader") > 30
    assert roles.count("columnheader") > 20
    assert any(role in ("img", "image") and name.startswith("claims true against distinct-2. ") for role, name in heard)
    assert [name for role, name in heard if role == "radio"] == [f"{k:06d}" for k in range(6)]
    assert ("img", "true") in heard or ("image", "true") in heard


def test_on_paper_every_image_has_its_place_and_the_choices_are_gone(browser, page):
    browser.open(page, width=720)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.getElementById('choices')).display") == "none"
    assert browser.run(OVERFLOWING) == ""
    browser.ask("Emulation.setEmulatedMedia", media="")
