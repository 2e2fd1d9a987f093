"""Recipes: a YAML file that fully says what a job does, read strictly, with every mistake of it reported at once.

A file may name one base with `extends:`, and hold a `smoke:` section of overrides that make the same job run in seconds
on a CPU. `key=value` overrides come last. What a run saves is the resolved recipe: everything written out, nothing
inherited.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from captioners.core.draft import Draft, read_draft
from captioners.core.errors import NotFoundError, RecipeError, UserError, near
from captioners.core.fields import Place, mistakes_of
from captioners.core.options import Options
from captioners.core.overrides import apply_override, apply_smoke
from captioners.core.package_data import recipe_names, recipes_dir
from captioners.core.registry import Registry
from captioners.core.yaml_lines import write_yaml

job_recipes: Registry[type[Options]] = Registry("job", package="captioners.jobs.recipes")
"""Recipe model of each job, filed by `@job_recipes.register(name)` in `jobs/recipes/<name>.py`, which is torch-free."""

M = TypeVar("M", bound=Options)


@dataclass(frozen=True)
class Recipe:
    """A recipe that was read and found right."""

    name: str
    """The packaged name ('caption/photos'), or the file's name without its ending."""
    path: Path
    job: str
    options: Options
    """The job's own model, as its module registered it."""
    has_smoke: bool
    """Whether the file holds a `smoke:` section."""


def find_recipe(name_or_path: str | Path) -> Path:
    """Return the file of a recipe given by path or by packaged name (`caption/photos`); raise `NotFoundError`."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    names = recipe_names()
    name = str(name_or_path).removesuffix(".yaml").removesuffix(".yml")
    if name in names:
        return recipes_dir() / f"{name}.yaml"
    beside = [str(path.with_name(p.name)) for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    hint = near(str(name_or_path), [*names, *beside])
    what = "a folder; 'captioners check' takes folders" if path.is_dir() else "no file and no packaged recipe"
    raise NotFoundError(f"no recipe '{name_or_path}': {what}.{hint} 'captioners list recipes' lists the packaged ones")


def read_recipe(source: str | Path, overrides: Sequence[str] = (), *, smoke: bool = False) -> Recipe:
    """Read a recipe by path or packaged name, with `key=value` overrides; raise `RecipeError` with all its mistakes.

    With `smoke`, the file's `smoke:` section is applied first.
    """
    path = find_recipe(source)
    shown = str(source)
    draft = _with_base(path, shown)
    smoke_values = draft.data.pop("smoke", None)
    model = None if draft.broken else _model_of(draft, shown)
    if model is not None:
        if smoke_values is not None:
            apply_smoke(draft, model, smoke_values, smoke)
        for override in overrides:
            apply_override(draft, model, override)
    options = _validate(draft, model) if model is not None else None
    if draft.mistakes or options is None or model is None:
        raise RecipeError(draft.report(shown))
    root, real = recipes_dir(), path.resolve()
    name = real.relative_to(root).with_suffix("").as_posix() if real.is_relative_to(root) else path.stem
    return Recipe(name, path, str(draft.data["job"]), options, smoke_values is not None)


def read_options(model: type[M], source: str | Path, overrides: Sequence[str] = (), *, smoke: bool = False) -> M:
    """Read a recipe that must be of one job, given by its model; raise `UserError` if it is another job's."""
    recipe = read_recipe(source, overrides, smoke=smoke)
    if not isinstance(recipe.options, model):
        raise UserError(
            f"{source} is a recipe of the job '{recipe.job}'; run it with 'captioners {recipe.job} {source}'"
        )
    return recipe.options


def options_from(model: type[M], data: Mapping[str, Any], overrides: Sequence[str] = (), shown: str = "options") -> M:
    """Return options that no file says: `data`, with `key=value` overrides; raise `RecipeError` with all mistakes.

    `shown` is what messages call them.
    """
    draft = Draft(data=dict(data))
    for override in overrides:
        apply_override(draft, model, override)
    options = _validate(draft, model)
    if draft.mistakes or not isinstance(options, model):
        raise RecipeError(draft.report(shown))
    return options


def resolved(options: Options) -> str:
    """Return the YAML text of a recipe with everything written out; reading it gives an equal recipe."""
    data = options.model_dump(mode="json")
    first = {"job": data.pop("job")} if "job" in data else {}
    return write_yaml({**first, **data})


def _with_base(path: Path, shown: str) -> Draft:
    draft = read_draft(path, shown)
    base_name = draft.data.pop("extends", None)
    if base_name is None:
        return draft
    base_path = _base_path(draft, path, base_name)
    if base_path is None:
        draft.broken = True  # half a recipe isn't worth judging
        return draft
    base = read_draft(base_path, base_name)
    if "extends" in base.data:
        again = base.data["extends"]
        draft.wrong(("extends",), f"{base_name} itself extends {again}; one level only, so extend that one")
        draft.broken = True
        return draft
    jobs = [str(d.data["job"]) for d in (draft, base) if "job" in d.data]
    model = job_recipes.get(jobs[0]) if jobs and jobs[0] in job_recipes.names() else None
    merged = _merge(base.data, draft.data, Place((model,)) if model else Place(()))
    return Draft(
        data=merged,
        origins={**base.origins, **draft.origins},
        mistakes=base.mistakes + draft.mistakes,
        secrets={**base.secrets, **draft.secrets},
        broken=base.broken or draft.broken,
    )


def _base_path(draft: Draft, path: Path, base_name: Any) -> Path | None:
    if not isinstance(base_name, str):
        draft.wrong(("extends",), "must be the path of one recipe (relative to this file) or a packaged name")
        return None
    beside = path.parent / base_name
    if beside.is_file():
        return beside
    if base_name in recipe_names():
        return find_recipe(base_name)
    draft.wrong(
        ("extends",), f"no file {beside} and no packaged recipe '{base_name}'.{near(base_name, recipe_names())}"
    )
    return None


def _merge(base: dict[str, Any], over: dict[str, Any], place: Place) -> dict[str, Any]:
    # Mappings are merged key by key, except where they are a choice: half of a beam under half of a sampler is neither.
    merged = dict(base)
    for key, value in over.items():
        old, inner = base.get(key), place.step(key)
        if isinstance(old, dict) and isinstance(value, dict) and not inner.tags:
            merged[key] = _merge(old, value, inner)
        else:
            merged[key] = value
    return merged


def _model_of(draft: Draft, shown: str) -> type[Options] | None:
    job = draft.data.get("job")
    if job is None:
        known = ", ".join(job_recipes.names())
        draft.wrong(("job",), f"missing; say which job this recipe is for. Known: {known}", (shown, 1))
        return None
    try:
        return job_recipes.get(str(job))
    except NotFoundError as error:
        draft.wrong(("job",), str(error))
        return None


def _validate(draft: Draft, model: type[Options]) -> Options | None:
    try:
        # As JSON: pydantic then takes a list for a tuple and text for a path, and still no text for a number.
        return model.model_validate_json(json.dumps(draft.data))
    except ValidationError as error:
        for key, says in mistakes_of(error, model, draft.data):
            draft.wrong(key, says)
    return None
