"""What a recipe of `ablate` says: arms and grids, names and mistakes; the packaged ones against the paper's tables."""

import json
import re

import pytest

from captioners.core.errors import RecipeError
from captioners.core.package_data import recipe_names, recipes_dir
from captioners.core.recipe import options_from, read_options, read_recipe, resolved
from captioners.decoding.values import Beam, Sample
from captioners.jobs.ablate.found import words_of
from captioners.jobs.ablate.layers import batches
from captioners.jobs.check.job import check
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.jobs.recipes.arms import Drawing
from tests.tools import smoke

PLAIN = {
    "job": "ablate",
    "source": {"kind": "drawn"},
    "captioners": {"a": "demo", "b": {"finetune": "finetune/demo-short"}},
    "decoding": {"top_p": 0.9, "min_tokens": 1},
}
NAMES = [name for name in recipe_names() if name.startswith("ablate/")]


def recipe(**said):
    return options_from(AblateRecipe, {**PLAIN, **said})


def test_the_axis_of_filter_rules_that_a_comment_shows_is_one():
    text = (recipes_dir() / "ablate/drawn_decoding.yaml").read_text(encoding="utf-8")
    axis = re.search(r"^  # rules: (.*)$", text, re.MULTILINE)[1]
    found = read_options(AblateRecipe, "ablate/drawn_decoding", [f"grid.rules={axis}", "declare.contrasts=[]"])
    rows = found.rows()
    assert len(rows) == 1 + 9 * 2 and "detailed beam 5 filtered" in rows
    assert rows["detailed top-p 0.9 filtered"].rules.refused(["truncated"])
    assert not rows["detailed top-p 0.9 as drawn"].rules.refused(["truncated"])
    assert len(batches(found, rows.values())) == 2, "what is as the recipe has it is drawn with the rest"


def test_a_grid_is_all_combinations_but_those_excluded():
    found = recipe(
        grid={
            "captioners": ["a", "b"],
            "ensembles": {"both": ["a", "b"]},
            "decodings": {"top-p": {"top_p": 0.9}, "beam": {"beam": {"width": 5}}},
            "draws": [1, 5],
            "captioner_seeds": [],
        },
        exclude=[{"captioner": "both", "draws": 5}, {"captioner": "a", "decoding": "beam"}],
    ).rows()
    assert list(found) == [
        "a top-p x 1", "a top-p x 5", "b top-p x 1", "b top-p x 5", "b beam x 1", "b beam x 5", "both top-p x 1",
        "both beam x 1",
    ]  # fmt: skip
    row = found["both beam x 1"]
    assert [(one.captioner, one.decoding, one.draws) for one in row.members] == [
        ("a", Beam(width=5), 1), ("b", Beam(width=5), 1)
    ]  # fmt: skip
    assert row.axes == {
        "captioner": "both", "fine-tuned by": "finetune/demo-short", "decoding": "beam", "draws": "1"
    }  # fmt: skip


def test_seeds_contexts_and_rules_are_axes_too():
    found = recipe(
        grid={
            "captioners": ["b"],
            "draws": [2],
            "context_lengths": [None, 24],
            "captioner_seeds": [0, 1],
            "rules": {"lax": {"refuse": []}, "strict": {}},
        }
    )
    rows = found.rows()
    assert len(rows) == 8 and "b context 24 strict seed 1" in rows
    row = rows["b context 24 strict seed 1"]
    assert row.members[0].layer == "b-seed-1.min_tokens-1_top_p-0.9_context-24"
    drawn = batches(found, rows.values())
    assert [sorted(batch.members) for batch in drawn] == [sorted({row.members[0].layer for row in rows.values()})] * 2
    assert drawn[0].key("b.x") != drawn[1].key("b.x"), "keys of other rules are others"


def test_a_member_decodes_as_the_recipe_says_unless_it_says_otherwise():
    found = recipe(arms={"x": {"members": [{"captioner": "a"}, {"captioner": "a", "decoding": "greedy", "draws": 1}]}})
    plain, greedy = found.rows()["x"].members
    assert plain.decoding == Sample(top_p=0.9, min_tokens=1)
    assert greedy.decoding == Beam(width=1)
    assert options_from(AblateRecipe, found.model_dump(mode="json")) == found


def test_captions_are_drawn_at_the_largest_count():
    arms = {f"x{n}": {"members": [{"captioner": "a", "draws": n}]} for n in (2, 5, 1)}
    found = recipe(arms=arms)
    (batch,) = batches(found, found.rows().values())
    assert {name: one.draws for name, one in batch.members.items()} == {"a.min_tokens-1_top_p-0.9": 5}
    assert batch.key("a.min_tokens-1_top_p-0.9") == "syn_text_a_min_tokens_1_top_p_0_9"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"arms": {"x": {"members": []}}}, "none has members"),
        ({"arms": {"x": {"members": [{"captioner": "c"}]}}}, "no captioner is named 'c'"),
        ({"arms": {"x": {"members": [{"captioner": "a", "captioner_seed": 1}]}}}, "is of what is fine-tuned here"),
        (
            {"arms": {"x": {"members": [{"captioner": "a", "decoding": {"beam": {"width": 3}}}]}}},
            "arm 'x': a beam of width 3",
        ),
        ({"arms": {"a": {"members": [{"captioner": "a"}]}}, "grid": {"captioners": ["a"]}}, "give that another name"),
        ({"grid": {"captioners": ["a"]}, "exclude": [{"captoner": "a"}]}, "Did you mean 'captioner'"),
        ({"grid": {"captioners": ["a"]}, "declare": {"contrasts": [["a", "z"]]}}, "no arm is named 'z'"),
        ({"grid": {"captioners": ["a"]}, "probe": {"output": "x"}}, "stand at the top"),
        ({"grid": {"captioners": ["a"]}, "declare": {"contrasts": [["a", "a"]]}}, "held against itself"),
        ({"grid": {"captioners": ["a"]}, "declare": {"contrasts": [["a", "b"], ["b", "a"]]}}, "twice; say it once"),
        ({"arms": {"sanity: x": {"members": [{"captioner": "a"}]}}}, "the probe's own controls"),
        ({"captioners": {"../a": "demo"}, "grid": {"captioners": ["../a"]}}, "captioners"),
    ],
)
def test_mistakes_are_told(said, message):
    with pytest.raises(RecipeError, match=message):
        recipe(**said)


def test_check_finds_what_could_not_run(tmp_path):
    file = tmp_path / "mine.yaml"
    captioners = {
        "a": "dmeo",
        "b": {"finetune": "finetune/demo-short", "changes": {"step": 3}},
        "c": {"finetune": "finetune/demo-shrt"},
        "later": "runs/not-made/captioner",
        "unharmed": {"finetune": "finetune/demo-short", "changes": {"steps": 3}},
    }
    file.write_text(json.dumps({**PLAIN, "captioners": captioners, "grid": {"captioners": ["a"]}}))
    (wrong,) = check(str(file)).wrong
    assert "captioners.a: no captioner is named 'dmeo'" in wrong
    assert "step: unknown key. Did you mean 'steps'" in wrong
    assert "captioners.c: no recipe 'finetune/demo-shrt'" in wrong
    assert "later" not in wrong and "unharmed" not in wrong
    file.write_text(json.dumps({**PLAIN, "grid": {"captioners": ["a", "b"]}}))
    assert "2 arms of 2 captioners, 24 students" in check(str(file)).right[0]


def test_decodings_in_words():
    plain = Sample(top_p=0.9, min_tokens=1)
    for decoding, words in (
        (plain, "top-p 0.9"),
        (Sample(min_tokens=1), "temperature 1"),
        (Sample(min_tokens=1, temperature=0.7, top_k=5), "top-k 5, temperature 0.7"),
        (Beam(width=1, min_tokens=1), "greedy"),
        (Beam(width=10, groups=5, diversity_penalty=0.5), "diverse beam 10, min_tokens 5"),
    ):
        assert words_of(Drawing("a", decoding, 1, None, None), plain) == words


def test_table_6_has_every_row_and_its_controls():
    rows = read_options(AblateRecipe, "ablate/table6").rows()
    tuned = {name.removeprefix("finetune/") for name in recipe_names() if name.startswith("finetune/")}
    tuned -= {"custom", *(name for name in tuned if name.startswith("demo-"))}
    assert len(tuned) == 14 and tuned <= set(rows)
    assert set(rows) - tuned == {"none", "laion", "5 x 2", "10 x 1", "1 x 10", "ground truth"}
    for name, captioners, draws in (("5 x 2", 5, 2), ("10 x 1", 10, 1), ("1 x 10", 1, 10)):
        members = rows[name].members
        assert len({one.captioner for one in members}) == captioners
        assert {one.draws for one in members} == {draws} and rows[name].m == 10
    assert all(rows[name].m == 5 for name in tuned)


def test_the_small_table_6_is_as_large_as_promised():
    found = read_options(AblateRecipe, "ablate/drawn_table6_small")
    probe = found.probe
    assert len(found.rows()) <= 8 and probe.distillation_weights == [0.0, 1.0]
    assert len(found.rows()) * len(probe.seeds) * len(probe.distillation_weights) <= 8 * 6 * 2
    tests = len(found.declare.contrasts) * len(probe.distillation_weights)
    assert tests * 2 / 2 ** len(probe.seeds) <= 0.05, "its seeds can bear its tests"


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.startswith(("ablate/", "probe/"))])
def test_the_seeds_of_a_recipe_can_bear_its_tests(name):
    options = read_recipe(name).options
    probe = options.probe if isinstance(options, AblateRecipe) else options
    tests = len(options.declare.contrasts) * len(probe.distillation_weights) if probe is not None else 0
    assert not tests or tests * 2 / 2 ** len(probe.seeds) <= 0.05


@pytest.mark.parametrize("name", ["drawn_captions", "captions"])
def test_the_number_of_captions_is_ablated_at_1_2_5_and_10(name):
    rows = read_options(AblateRecipe, f"ablate/{name}").rows()
    assert {row.m for row in rows.values()} >= {1, 2, 5, 10}
    assert {len({one.trained for one in row.members}) for row in rows.values() if row.m == 10} == {1, 5, 10}


def test_the_full_table_of_the_drawn_world_has_eighteen_rows():
    assert len(read_options(AblateRecipe, "ablate/drawn_table6").rows()) == 18


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_its_declaration_and_can_be_saved(name, tmp_path):
    read = read_recipe(name)
    assert read.has_smoke
    saved = tmp_path / "saved.yaml"
    saved.write_text(resolved(read.options))
    assert read_recipe(saved).options == read.options
    drawn = "drawn" in name
    assert ("drawn world" in (read.path.read_text())) == drawn


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ablate/drawn_table6_small", "ablate/table6"])
def test_a_drawn_and_a_full_recipe_run_small(name, tmp_path):
    """The others run by `make smoke`."""
    assert smoke.run(name, tmp_path) == 0
