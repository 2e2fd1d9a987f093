"""captioners/report/ablation_words.py, ablation_table.py: numbers as they are printed, and nothing claimed too much."""

import pytest

from captioners.report.ablation import Ablation, Arm, Cell, Column, Contrast, Correlation
from captioners.report.ablation_table import number, shown_seeds, table, unmeasured
from captioners.report.ablation_words import MOST_ANSWERS, answers, finding, foretold, sentence, summary
from tests.report.an_ablation import an_ablation

COMMON = {"arm": "a", "against": "b", "task": "t", "distillation": "0", "primary": True}


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"seeds": 0, "difference": None}, "not measured yet"),
        ({"seeds": 1, "difference": 0.1}, "can't tell: one seed has no interval"),
        ({"difference": 0.1, "low": 0.05, "high": 0.15, "p_holm": 0.03, "equivalent": False}, "better"),
        ({"difference": -0.1, "low": -0.15, "high": -0.05, "p_holm": 0.05, "equivalent": False}, "worse"),
        ({"difference": 0.01, "low": 0.005, "high": 0.015, "p_holm": 0.03, "equivalent": True}, "better, by less than"),
        ({"difference": 0.1, "low": 0.05, "high": 0.15, "p_holm": 0.09, "equivalent": False}, "not after Holm's"),
        ({"difference": 0.1, "low": -0.01, "high": 0.21, "p_holm": 0.03, "equivalent": False}, "can't tell"),
        ({"seeds": 3, "difference": 0.1, "low": 0.05, "high": 0.15}, "too few seeds to test"),
        ({"difference": 0.0, "low": -0.01, "high": 0.01, "p_holm": 1.0, "equivalent": True}, "no difference that"),
        ({"difference": 0.0, "low": -0.1, "high": 0.1, "p_holm": 1.0, "equivalent": False}, "can't tell"),
        ({"difference": 0.1, "low": 0.05, "high": 0.15, "p_holm": 0.09, "p_least": 0.09}, "6 seeds are too few for so"),
    ],
)
def test_a_finding_says_what_its_numbers_carry_and_no_more(numbers, said):
    assert said in finding(Contrast(**COMMON, **({"seeds": 6} | numbers)))


def test_an_interval_that_holds_zero_is_no_proof_of_no_difference():
    wide = Contrast(**COMMON, seeds=6, difference=0.0, low=-0.1, high=0.1, equivalent=False)
    assert "no difference" not in finding(wide)


def test_sentences_name_task_weight_seeds_and_correction():
    one = Contrast(**COMMON, seeds=6, difference=0.021, low=0.009, high=0.033, p=0.03125, p_holm=0.0625)
    assert sentence(one, "share") == (
        "a against b: better by its interval, not after Holm's correction: +2.1 [+0.9, +3.3] points of t at λ\u00a00 "
        "(6 paired seeds, p 0.062 after Holm)"
    )


def test_the_summary_counts_arms_and_says_what_was_declared():
    found = an_ablation()
    assert summary(found).startswith("7 arms: 5 measured, 1 failed, 1 still to come. Declared beforehand: Avg-S at λ")
    bare = Ablation(name="x", arms=(Arm(name="a"),))
    assert summary(bare) == "1 arm: 0 measured, 1 still to come."


def test_many_answers_are_cut_and_counted():
    one = Contrast(**COMMON, seeds=0, difference=None)
    found = Ablation(name="x", arms=(Arm(name="a"),), contrasts=(one,) * (MOST_ANSWERS + 2))
    assert answers(found)[-1] == "and 2 more, below"


@pytest.mark.parametrize(
    ("better", "numbers", "said"),
    [
        ("higher", (0.9, 0.2, 0.99), "foretold it"),
        ("higher", (-0.9, -0.99, -0.2), "foretold the opposite"),
        ("lower", (-0.9, -0.99, -0.2), "foretold it"),
        ("neither", (0.9, 0.2, 0.99), "rose with it"),
        ("higher", (0.9, -0.1, 0.99), "not shown to foretell it"),
        ("higher", (None, None, None), "can't tell"),
        ("higher", (1.0, None, None), "can't tell: too few arms"),
    ],
)
def test_what_a_metric_foretold_depends_on_which_way_is_better(better, numbers, said):
    rho, low, high = numbers
    found = Ablation(
        name="x",
        arms=(Arm(name="a"),),
        columns=(Column(name="m", unit="share", better=better, group="truth"),),
        correlations=(Correlation(metric="m", outcome="o", arms=5, rho=rho, low=low, high=high),),
    )
    ((outcome, rows),) = foretold(found)
    assert outcome == "o"
    assert said in rows[0].verdict


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(0.9996, "share", "100.0"), (-0.0004, "share", "0.0"), (7.446, "words", "7.45"), (-12.34, "words", "−12.3")],
)
def test_numbers_are_short_and_no_zero_has_a_sign(value, unit, said):
    assert number(value, unit) == said


def test_the_mean_over_seeds_has_the_deviation_of_a_sample():
    shown = shown_seeds({"0": 0.1, "1": 0.2, "2": 0.3}, "share")
    assert (shown.text, shown.spread) == ("20.0", "± 10.0")
    assert shown_seeds({"0": 0.1}, "share").spread == ""
    assert shown_seeds({}, "share").value is None


def test_each_reason_is_one_footnote_and_those_of_hidden_columns_are_marked():
    made = table(an_ablation())
    assert [(note.letter, note.more) for note in made.footnotes] == [("a", False), ("b", True)]
    few = table(an_ablation(), every=False)
    assert [note.why for note in few.footnotes] == ["one caption an image has no diversity"]
    assert {len(row.cells) for row in few.rows} == {len(few.heads)}
    names = [head.name for head in few.heads]
    assert names.index("claims true") < names.index("length") < names.index("Div-2")


def test_a_footnote_may_stand_at_a_number():
    column = Column(name="d", unit="words", better="higher", group="within an image")
    arm = Arm(name="a", status="done", cells={"d": Cell(value=2.0, why="at 5 of 10 captions")})
    made = table(Ablation(name="x", columns=(column,), arms=(arm,)))
    assert (made.rows[0].cells[1].text, made.rows[0].cells[1].note) == ("2.00", "a")


def test_what_nobody_measured_is_said_once_and_stands_in_no_column():
    found = an_ablation()
    assert unmeasured(found) == ["CLIPScore: needs --clip NAME"]
    assert "CLIPScore" not in [head.name for head in table(found, every=False).heads]
    wanted = found.model_copy(
        update={"columns": tuple(column.model_copy(update={"default": True}) for column in found.columns)}
    )
    heads = {head.name: head.more for head in table(wanted).heads}
    assert heads["CLIPScore"] and not heads["Div-1"]
