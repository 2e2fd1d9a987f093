"""The ensembles of the paper: captioners and captions as their names say; captioners that are made or published."""

import re

import pytest

from captioners.core.errors import UserError
from captioners.core.package_data import recipe_names, recipes_dir
from captioners.core.recipe import read_recipe
from captioners.jobs.generate.setup import check_members
from captioners.kinds.catalogue import known_captioners

ENSEMBLES = [name for name in recipe_names() if re.search(r"_x_\d+_draws?$", name)]
NAMED = {known.name: known for known in known_captioners()}


def test_there_are_the_four_of_the_comparison():
    assert [name.partition("/")[2] for name in ENSEMBLES] == [
        "10_captioners_x_1_draw", "1_captioner_x_10_draws", "1_captioner_x_5_draws", "5_captioners_x_2_draws",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ENSEMBLES)
@pytest.mark.parametrize("smoke", [False, True])
def test_a_name_says_how_many_captioners_and_captions(name, smoke):
    captioners, draws = map(int, re.findall(r"\d+", name))
    recipe = read_recipe(name, smoke=smoke).options
    assert len(recipe.groups) == captioners and [member.draws for member in recipe.members] == [draws] * captioners


@pytest.mark.parametrize("name", ENSEMBLES)
def test_each_captioner_is_made_by_a_recipe_or_known_by_name_and_its_licence_gated(name):
    recipe = read_recipe(name).options
    for member in recipe.members:
        made = re.fullmatch(r"runs/(\w+)/captioner", member.captioner)
        if made:
            tuned = read_recipe(f"finetune/{made[1]}").options
            assert tuned.output == f"runs/{made[1]}" and tuned.allow_noncommercial
        else:
            assert member.captioner in NAMED
    assert recipe.allow_noncommercial
    apples = [member for member in recipe.members if member.captioner.startswith("apple-")]
    if apples:
        with pytest.raises(UserError, match="allow_noncommercial"):
            check_members(recipe.model_copy(update={"allow_noncommercial": False, "members": apples}))


def test_apples_twenty_one_checkpoints_are_known_under_their_repositories():
    repositories = {known.origin.where for known in NAMED.values() if known.name.startswith("apple-")}
    assert len(repositories) == 21
    base = "apple/mobileclip2_coca_dfn2b_s13b_"
    tuned = {
        f"{base}{data}_s12m_context{rows}"
        for data in ("docci", "dci-complete", "recap-coco-30k")
        for rows in (77, 128, 256)
    }
    assert tuned | {f"{base}context77", f"{base}gbc10m-short-relation_context256"} <= repositories
    said = (recipes_dir() / "generate/5_captioners_x_2_draws.yaml").read_text(encoding="utf-8")
    published = re.findall(r"# (apple-\S+)", said)
    assert len(published) == 5 and set(published) <= set(NAMED)
