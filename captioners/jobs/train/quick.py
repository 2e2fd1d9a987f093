"""From what stands on the command line to a finetune recipe: paths, or a recipe with overrides (`--init` is one)."""

import json
from typing import Any

from captioners.core.package_data import names_recipe, paths_and_changes
from captioners.core.recipe import read_options
from captioners.core.yaml_lines import read_yaml
from captioners.data.recognise import recognise
from captioners.jobs.recipes.finetune import FinetuneRecipe

BASE = "finetune/custom"
_SOURCE = "source."


def quick_recipe(what: list[str], init: str | None = None) -> tuple[FinetuneRecipe, str]:
    """Return the recipe that the arguments mean, and one line that says what was recognised.

    Raises:
        RecipeError, UserError: every mistake of the recipe at once; a path that is not there, or has two readings.
    """
    overrides = [f"init={json.dumps(init)}"] if init is not None else []
    first = what[0]
    if names_recipe(first):
        recipe = read_options(FinetuneRecipe, first, [*what[1:], *overrides])
        return recipe, f"recipe {first}; from captioner {recipe.init}"
    paths, changes = paths_and_changes(what)
    source, said = recognise(paths, captioned=True, given=_source_options(changes))
    changes = [change for change in changes if not change.startswith(_SOURCE)]
    given = [f"source={json.dumps(source.model_dump(mode='json'))}", *changes, *overrides]
    recipe = read_options(FinetuneRecipe, BASE, given)
    return recipe, f"{said}; as recipe {BASE}, from captioner {recipe.init}"


def _source_options(changes: list[str]) -> dict[str, Any]:
    """Return what `source.KEY=VALUE` says of the paths: which column, which separator."""
    pairs = [change.removeprefix(_SOURCE).partition("=") for change in changes if change.startswith(_SOURCE)]
    return {name: read_yaml(text).value for name, _, text in pairs}
