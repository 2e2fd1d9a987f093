"""captioners/jobs/measure: what members share and add is in the table, and what a table lacks is said."""

from itertools import combinations

import numpy as np
import pytest

from captioners.data.caption_sets import ALL, CaptionSet, Part, sets_of_run
from captioners.data.drawn_check import facts, facts_stated
from captioners.jobs.measure.table import MeasureOptions, measure_sets
from captioners.metrics.alignment import SELF_RETRIEVAL
from captioners.metrics.registry import REGISTRY
from captioners.metrics.streaming import BY_NAME_ONLY
from captioners.metrics.tokens import grams, words
from tests.jobs.drawn_runs import drawn_run, says, scene_of, voice
from tests.kinds.test_scorer import write_clip

MEMBERS = {"short": voice("short", 3), "detailed": voice("detailed", 2), "twin": voice("short", 2)}
ALL_METRICS = MeasureOptions(workers=1, all_metrics=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return drawn_run(tmp_path_factory.mktemp("drawn") / "run", MEMBERS, count=12)


@pytest.fixture(scope="module")
def table(run):
    return measure_sets(sets_of_run(run.url), ALL_METRICS)


def texts_of(run, member):
    rows = run.captions([member]).to_pandas()
    return rows.sort_values("draw").groupby("key")["text"].apply(list).to_dict()


def cell(table, row, metric):
    return next(found for found in table.rows if found.name == row).cells[metric]


def test_every_metric_is_in_a_table_of_all(run, tmp_path):
    """Seven were in the registry alone; and nothing said what else there would be."""
    clip = f"local-dir:{write_clip(tmp_path)[0]}"
    whole = measure_sets(
        sets_of_run(run.url), MeasureOptions(**{**dict(ALL_METRICS), "references": "own", "clip": clip})
    )
    assert any(note.startswith("Novel is what those references do not say") for note in whole.notes)
    known = {name.removesuffix(" of 1000") for name in REGISTRY} - {metric.name for metric in BY_NAME_ONLY}
    assert {one.name.removesuffix(" of 12") for one in whole.metrics} == known
    for metric in whole.metrics:
        assert any(row.cells[metric.name].interval for row in whole.rows), metric.name


def test_what_a_table_of_all_lacks_is_told(table):
    others = {metric.name for metric in (*BY_NAME_ONLY, SELF_RETRIEVAL)}
    assert {one.name for one in table.metrics} == set(REGISTRY) - others
    told = {note.rpartition(": ")[2]: note for note in table.notes if note.startswith("not measured")}
    assert set(told) == {"needs --clip NAME", "needs --references SOURCE", "needs --clip NAME and --references SOURCE"}
    for name in ("embedding distance", "Vendi (embedding)", "CLIPScore, best of m", "self-retrieval R@1 of 1000"):
        assert f"{name}," in told["needs --clip NAME"] or f"{name}:" in told["needs --clip NAME"]
    for name in ("CIDEr-D", "best of m", "novel 4-grams", "novel captions"):
        assert name in told["needs --references SOURCE"]


def test_what_two_members_share_is_the_mean_over_pairs(run, table):
    said = [texts_of(run, member) for member in ("detailed", "short", "twin")]
    shared, equal = [], []
    for key in said[0]:
        sets = [{gram for text in of[key] for gram in grams(words(text), 2)} for of in said]
        shared.append(np.mean([len(a & b) / len(a | b) for a, b in combinations(sets, 2)]))
        split = [[words(text) for text in of[key]] for of in said]
        equal.append(np.mean([np.mean([one == other for one in a for other in b]) for a, b in combinations(split, 2)]))
    assert cell(table, ALL, "2-gram overlap").interval.value == pytest.approx(np.mean(shared))
    assert cell(table, ALL, "equal captions").interval.value == pytest.approx(np.mean(equal)) != 0
    assert cell(table, "short", "equal captions").why == "one member"
    assert table.per_image().to_pandas()["2-gram overlap"].notna().sum() == 12


def test_facts_added_stand_in_the_members_rows(run, table):
    said = {member: texts_of(run, member) for member in MEMBERS}
    for member in MEMBERS:
        expected = []
        for key in said[member]:
            told = {
                other: set().union(*(facts_stated(text, scene_of(key)) for text in texts[key]))
                for other, texts in said.items()
            }
            others = set().union(*(of for other, of in told.items() if other != member))
            expected.append(len(told[member] - others) / len(facts(scene_of(key))))
        found = cell(table, member, "facts added").interval
        assert (found.value, found.count) == (pytest.approx(np.mean(expected)), 12)
    assert cell(table, ALL, "facts added").why == "of its members"
    assert any(note.startswith("Vendi alpha, beta and gamma, and what members share and add") for note in table.notes)


def test_gamma_and_words_added_of_twins_and_strangers(tmp_path):
    members = {"a": says(["a red circle"]), "b": says(["a red circle"]), "c": says(["two blue squares"])}
    run = drawn_run(tmp_path / "run", members, count=4)
    table = measure_sets(sets_of_run(run.url), ALL_METRICS)
    assert cell(table, "a", "marginal vocabulary").why == "one caption an image, of some member"
    gamma = [cell(table, name, "Vendi gamma added").interval.value for name in "abc"]
    three = np.exp(-(2 / 3) * np.log(2 / 3) - (1 / 3) * np.log(1 / 3))
    assert gamma == pytest.approx([three - 2, three - 2, three - 1])
    twice = {name: says([text] * 2) for name, (_, say) in members.items() for text in say(0)}
    table = measure_sets(sets_of_run(drawn_run(tmp_path / "twice", twice, count=4).url), ALL_METRICS)
    assert [cell(table, name, "marginal vocabulary").interval.value for name in "abc"] == [0, 0, 3]


def test_a_set_that_is_in_several_and_one_of_which_a_member_is_no_row(run, table):
    sets = sets_of_run(run.url)
    two = CaptionSet("two", sets[-1].parts[:2])
    found = measure_sets([*sets, two], ALL_METRICS)
    assert cell(found, "detailed", "Vendi gamma added").why == "a member of several sets"
    assert cell(found, "twin", "Vendi gamma added").interval == cell(table, "twin", "Vendi gamma added").interval
    some = measure_sets([sets[0], two], ALL_METRICS)
    assert cell(some, "detailed", "Vendi gamma added").interval.value > 0
    assert cell(some, "detailed", "marginal vocabulary").why == "not all members are rows"
    assert "Vendi gamma added" not in {one.name for one in measure_sets([two], ALL_METRICS).metrics}


def test_without_all_nothing_of_it_is_measured(run):
    alone = CaptionSet("short", (Part(run.url, "short"),))
    assert all(one.name != "2-gram overlap" for one in measure_sets([alone], ALL_METRICS).metrics)
    short = measure_sets(sets_of_run(run.url), MeasureOptions(workers=1))
    assert not {"2-gram overlap", "Vendi gamma added", "novel captions"} & {one.name for one in short.metrics}
