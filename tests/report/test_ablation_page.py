"""captioners/report/ablation_page.py: a page at every stage, captions as text alone, marks for eyes and ears."""

import re

import pytest

from captioners.report.ablation import Ablation, Arm, Contrast
from captioners.report.ablation_gallery import Said, Seen, Span
from captioners.report.ablation_markdown import markdown
from captioners.report.ablation_page import held, render_ablation
from tests.report.an_ablation import an_ablation
from tests.report.test_page import HOSTILE, Reader


def test_hostile_text_stays_text_everywhere_on_the_page():
    plain, hostile = (Reader(render_ablation(an_ablation(text))) for text in ("innocent", HOSTILE))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert hostile.text.count(HOSTILE) == plain.text.count("innocent") > 8
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)


def test_hostile_captions_keys_and_facts_stay_text():
    seen = Seen(
        key=HOSTILE,
        facts=(HOSTILE,),
        references=(HOSTILE,),
        captions={"a": (Said(text=HOSTILE, spans=(Span(start=0, stop=9, mark="false"),)),)},
    )
    reader = Reader(render_ablation(Ablation(name="x", arms=(Arm(name="a"),), gallery=(seen,))))
    assert reader.text.count(HOSTILE[9:]) == 4
    assert [tag for tag, _ in reader.tags].count("script") == 1


def test_the_first_moment_has_a_page_and_says_what_is_to_come():
    page = render_ablation(Ablation(name="x", arms=(Arm(name="a"), Arm(name="b"))))
    text = Reader(page).text
    assert text.count("still to come") == 3  # both rows and the sentence
    assert "Nothing was declared before the first probe" in text
    for absent in ("Frontier", "Saturation", "Probe", "Overlap", "Gallery"):
        assert absent not in text


def test_a_control_that_fails_is_an_alarm_and_one_that_holds_is_not():
    """Once, both looked the same."""
    page = render_ablation(an_ablation())
    [alarm] = re.findall(r'<p class="note alarm">(Control.*?)</p>', page)
    assert alarm.startswith("Control: true captions of every manner are the ceiling: NOT SO (average 0.12")
    [held_list] = re.findall(r'<ul class="small held">(.*?)</ul>', page, re.S)
    assert held_list.count("<li>") == 1 and "captions of other pictures teach nothing: so it is" in held_list
    said = markdown(an_ablation())
    assert "NOT SO" in said and "so it is" in said


def test_a_failed_arm_stands_in_its_row_with_its_reason():
    row = re.search(r'<tr class="failed".*?</tr>', render_ablation(an_ablation()), re.S)[0]
    assert "mixed_255" in row
    assert "no weights at runs/mixed" in row


def test_an_arm_that_was_measured_and_failed_later_says_so_beside_its_numbers():
    """Once, its numbers stood where the reason had to be."""
    whole = an_ablation()
    place = next(at for at, arm in enumerate(whole.arms) if arm.status == "done" and len(arm.cells) > 2)
    failed = whole.arms[place].model_copy(update={"status": "failed", "reason": "LOSS IS NAN", "probe": {}})
    arms = (*whole.arms[:place], failed, *whole.arms[place + 1 :])
    page = render_ablation(whole.model_copy(update={"arms": arms}))
    row = next(one for one in re.findall(r'<tr class="failed".*?</tr>', page, re.S) if failed.name in one)
    assert "LOSS IS NAN" in row and "data-value" in row


def test_the_page_says_what_its_words_rest_on():
    found = an_ablation()
    unpaired = tuple(one.model_copy(update={"missing": 2}) for one in found.contrasts)
    assert "(2 unpaired)" in Reader(render_ablation(found.model_copy(update={"contrasts": unpaired}))).text
    text = Reader(render_ablation(found)).text
    assert "nothing else varies" in text and "not the printed one of 95 %" in text
    assert f"corrected for the number of tests, {len(found.correlations)}:" in text
    elsewhere = Reader(render_ablation(found.model_copy(update={"trained_elsewhere": True}))).text
    assert "nothing else varies" not in elsewhere and "by another program" in elsewhere


def test_a_task_that_tries_to_be_html_is_read_as_text_and_breaks_after_its_marks():
    task = "retrieval/a_b<script>"
    arm = Arm(name="a", status="done", probe={"0": {task: {"0": 0.5}}})
    page = render_ablation(Ablation(name="x", arms=(arm,), tasks=(task,)))
    assert "retrieval/<wbr>a b&lt;script&gt;" in page
    assert [tag for tag, _ in Reader(page).tags].count("script") == 1


def test_a_page_points_nowhere_but_into_itself():
    page = render_ablation(an_ablation())
    reader = Reader(page)
    links = [value for _, attributes in reader.tags for name, value in attributes.items() if name in ("href", "src")]
    assert all(link.startswith(("#", "data:")) for link in links)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert not re.search(r"\sstyle=", page)


def test_every_table_has_a_caption_and_scoped_heads_and_every_drawing_words():
    reader = Reader(render_ablation(an_ablation()))
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("caption") == tags.count("table") > 5
    assert all("scope" in attributes for tag, attributes in reader.tags if tag == "th")
    drawings = [attributes for tag, attributes in reader.tags if tag == "svg"]
    assert drawings
    assert all("aria-hidden" in one or len(one["aria-label"]) > 10 for one in drawings)


def test_statements_are_marked_by_line_sign_and_word():
    said = Said(
        text="a red dot, a cat and so on",
        spans=(
            Span(start=0, stop=9, mark="true"),
            Span(start=11, stop=16, mark="false"),
            Span(start=21, stop=26, mark="unparseable"),
        ),
    )
    page = render_ablation(Ablation(name="x", arms=(Arm(name="a"),), gallery=(Seen(key="k", captions={"a": (said,)}),)))
    line = re.search(r'<ul class="captions">(.*?)</ul>', page, re.S)[1]
    assert re.sub(r"<[^>]+>|[✓✗?]|\n", "", line) == said.text
    assert '<mark class="true">a red dot</mark>' in line
    assert line.index("✓") < line.index(", ") < line.index("✗") < line.index(" and ") < line.index("?")
    assert re.findall(r'aria-label="([^"]+)"', line) == ["true", "false", "not read"]


def test_changed_declarations_are_said_at_the_top_and_shown_below():
    page = render_ablation(an_ablation())
    assert "The declaration was changed 1 time after the first probe had begun" in page
    assert "declare.margin" in page
    unchanged = an_ablation()
    unchanged = unchanged.model_copy(update={"declared": unchanged.declared.model_copy(update={"changes": ()})})
    assert "was changed" not in render_ablation(unchanged)


def test_bars_share_a_scale_that_holds_zero_and_the_margin():
    rows = held(an_ablation().contrasts, an_ablation())
    bars = [row.bar for row in rows if row.bar is not None]
    assert {bar.zero for bar in bars} == {100.0}
    assert {bar.margin for bar in bars} == {bars[0].margin}
    assert all(0 <= bar.low <= bar.at <= bar.high <= 200 for bar in bars)
    assert rows[-1].bar is None  # not measured yet


@pytest.mark.parametrize("primary", [True, False])
def test_contrasts_open_where_they_are_all_there_is(primary):
    one = Contrast(arm="a", against="b", task="t", distillation="0", seeds=0, difference=None, primary=primary)
    page = render_ablation(Ablation(name="x", arms=(Arm(name="a"), Arm(name="b")), contrasts=(one,)))
    assert "a − b" in page
    assert ("<details open><summary>Contrasts" in page) is not primary
