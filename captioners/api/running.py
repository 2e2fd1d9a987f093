"""Run a recipe in Python, as its command does: which job it is, and what it leaves."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioners.api.runs import Run
from captioners.core.errors import UserError

if TYPE_CHECKING:
    from captioners.core.options import Options

Say = Callable[[str], None]


def run(recipe: str | Path | Mapping[str, Any], *, say: Say = lambda _: None, **overrides: Any) -> Run:
    """Run a recipe, given by path, packaged name or as a mapping that says its `job`, with overrides as keywords.

    `draws=5`, `decoding={"top_p": 0.9}`; a key below another is written `**{"split.val": 0.1}`. It goes on where its
    run stopped, as the command does. A training that this very recipe has finished is returned as it is.

    Args:
        say: told in lines what happens (`say=print`).

    Raises:
        RecipeError: all mistakes of the recipe at once. UserError: a recipe of a job that is not run from here.
        NeedsLookError, InterruptedRunError: as the command ends with 2 and 75.
    """
    changes = [f"{key}={json.dumps(value, default=str)}" for key, value in overrides.items()]
    name, job, options = _of_mapping(recipe, changes) if isinstance(recipe, Mapping) else _of_file(recipe, changes)
    if job not in _JOBS:
        given = "RECIPE" if isinstance(recipe, Mapping) else recipe
        raise UserError(f"a recipe of the job '{job}' is not run from here; run it with 'captioners {job} {given}'")
    return _JOBS[job](options, name, say)


def _of_file(recipe: str | Path, changes: list[str]) -> tuple[str, str, "Options"]:
    from captioners.core.recipe import read_recipe

    found = read_recipe(recipe, changes)
    return found.path.stem, found.job, found.options


def _of_mapping(recipe: Mapping[str, Any], changes: list[str]) -> tuple[str, str, "Options"]:
    from captioners.core.recipe import job_recipes, options_from

    job = str(recipe.get("job"))
    return job, job, options_from(job_recipes.get(job), json.loads(json.dumps(recipe, default=str)), changes, "recipe")


def _caption(options: Any, _name: str, _say: Say) -> Run:
    from captioners.jobs.caption.job import caption

    done = caption(options)
    return Run(done.directory, done.captions, "caption")


def _generate(options: Any, name: str, say: Say) -> Run:
    from captioners.jobs.generate.job import generate

    return Run(generate(options, name=name, say=say).directory, job="generate")


def _train(options: Any, _name: str, say: Say) -> Run:
    from captioners.jobs.train.folder import finished
    from captioners.jobs.train.job import train

    folder = finished(options)
    if folder is not None:
        say(f"{folder}: this recipe's training is finished")
        return Run(folder, job=options.job)
    return Run(train(options, say=say).directory, job=options.job)


def _export(options: Any, _name: str, say: Say) -> Run:
    from captioners.jobs.export.job import export_run

    return Run(export_run(options, say).folder, job="export")


def _reinforce(options: Any, name: str, say: Say) -> Run:
    from captioners.jobs.reinforce.job import reinforce

    return Run(reinforce(options, name=name, say=say).directory, job="reinforce")


def _probe(options: Any, _name: str, say: Say) -> Run:
    from captioners.jobs.probe.job import probe

    return Run(probe(options, say).directory, job="probe")


def _ablate(options: Any, name: str, say: Say) -> Run:
    from captioners.jobs.ablate.job import ablate

    return Run(ablate(options, name=name, say=say).directory, job="ablate")


_JOBS: dict[str, Callable[[Any, str, Say], Run]] = {
    "caption": _caption,
    "generate": _generate,
    "pretrain": _train,
    "finetune": _train,
    "export": _export,
    "reinforce": _reinforce,
    "probe": _probe,
    "ablate": _ablate,
}
