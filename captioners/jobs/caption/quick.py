"""From what stands on the command line to a caption recipe: paths, or a recipe with overrides (options are, too)."""

import json
from pathlib import Path

from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.package_data import names_recipe, paths_and_changes, recipe_names
from captioners.core.recipe import read_options
from captioners.jobs.recipes.caption import CaptionRecipe

_SAMPLED = "{top_p: 0.9}"
"""How several captions a photo are made when nothing else is said: a beam would give near copies."""


def quick_recipe(
    what: list[str],
    *,
    captioner: str | None = None,
    draws: int | None = None,
    decoding: str | None = None,
    out: str | None = None,
) -> tuple[CaptionRecipe, str]:
    """Return the recipe that the arguments mean, and one line that says what was recognised.

    Raises:
        RecipeError, UserError: every mistake of the recipe and the options at once.
    """
    if draws is not None and draws < 1:
        raise UserError(f"-n {draws}: how many captions a photo? give 1 or more")
    if draws is not None and draws > 1 and decoding is None:
        decoding = _SAMPLED
    named = {"captioner": captioner, "output": out}
    overrides = [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None]
    overrides += [f"draws={draws}"] if draws is not None else []
    overrides += [f"decoding={decoding}"] if decoding is not None else []
    first = what[0]
    if names_recipe(first):
        recipe = read_options(CaptionRecipe, first, [*what[1:], *overrides])
        return recipe, f"recipe {first}; captioner {recipe.captioner}"
    paths, changes = paths_and_changes(what)
    for path in paths:
        if not Path(path).expanduser().exists():
            raise NotFoundError(f"{path}: no photo, folder or recipe is there.{near(path, recipe_names())}")
    recipe = read_options(CaptionRecipe, "caption/photos", [f"inputs={json.dumps(paths)}", *changes, *overrides])
    count = "1 path" if len(paths) == 1 else f"{len(paths)} paths"
    return recipe, f"{count}, as recipe caption/photos; captioner {recipe.captioner}"
