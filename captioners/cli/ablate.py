"""`captioners ablate`: compare captions by what captioners, numbers and decodings give; the same command resumes."""

from typing import Annotated

import typer

from captioners.cli.ending import done
from captioners.core.progress import Display


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe, by path or packaged name (`captioners list recipes`).")],
    changes: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it.")] = None,
) -> None:
    """Make, measure and probe the captions of every arm of a recipe, doing only what is missing.

    Captioners are fine-tuned, captions drawn once for all arms, exported and embedded; each arm is measured, and small
    students are trained on it. The page stands from the first arm on. Stopped, the same command goes on; an arm that
    cannot be had stands there with its reason. `captioners plan RECIPE` says beforehand what is missing.
    """
    from captioners.core.recipe import read_recipe
    from captioners.jobs.ablate.job import ablate
    from captioners.jobs.recipes.ablate import AblateRecipe

    found = read_recipe(recipe, changes or ())
    options = found.options
    if not isinstance(options, AblateRecipe):
        from captioners.core.errors import UserError

        raise UserError(f"{recipe} is a recipe of the job '{found.job}'; run it with 'captioners {found.job} {recipe}'")
    with Display() as display:
        run = ablate(options, name=found.path.stem, say=typer.echo, show=display)
    typer.echo()
    for arm, reason in run.failed.items():
        typer.echo(f"arm {arm} failed: {reason}", err=True)
    done(run.page, f"captioners report {run.directory} --to html")
    if run.failed:
        raise typer.Exit(2)
