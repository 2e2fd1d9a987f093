"""From what stands on the command line to a generate recipe: paths, or a recipe with overrides (options are, too)."""

import json

from captioners.core.errors import RecipeError, UserError
from captioners.core.package_data import names_recipe, paths_and_changes
from captioners.core.recipe import find_recipe, read_options
from captioners.data.recognise import recognise
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.kinds.choices import written

_BASE = "generate/shards"


def quick_recipe(
    what: list[str],
    *,
    captioner: str | None = None,
    draws: int | None = None,
    decoding: str | None = None,
    out: str | None = None,
) -> tuple[GenerateRecipe, str, str]:
    """Return the recipe that the arguments mean, its name, and one line that says what was recognised.

    Raises:
        RecipeError, UserError: every mistake of the recipe and the options at once.
    """
    if draws is not None and draws < 1:
        raise UserError(f"-n {draws}: how many captions of each image? give 1 or more")
    overrides = [f"members.0.captioner={json.dumps(captioner)}"] if captioner is not None else []
    overrides += [f"members.0.draws={draws}"] if draws is not None else []
    overrides += [f"members.0.decoding={decoding}"] if decoding is not None else []
    first = what[0]
    if names_recipe(first):
        changes = [*what[1:], *overrides, *_output(out)]
        recipe = read_options(GenerateRecipe, first, changes)
        if overrides and len(recipe.members) > 1:
            raise RecipeError(
                f"-c, -n and -d speak of one member, and {first} has {len(recipe.members)}; "
                "write members.0.draws=3, members.1.draws=2 ..."
            )
        return recipe, find_recipe(first).stem, f"recipe {first}; {len(recipe.members)} members"
    paths, changes = paths_and_changes(what)
    source, said = recognise(paths)
    given = [f"source={json.dumps(source.model_dump(mode='json'))}", *changes, *overrides, *_output(out)]
    recipe = read_options(GenerateRecipe, _BASE, given)
    return recipe, "generate", f"{said}; captioner {written(recipe.members[0].captioner)}"


def _output(out: str | None) -> list[str]:
    return [f"output={json.dumps(out)}"] if out is not None else []
