"""`captioners ablate`: compare captions by what captioners, numbers and decodings give; the same command resumes."""

from collections.abc import Sequence
from typing import Annotated

import typer

from captioners.cli.ending import done
from captioners.core.progress import Display


def command(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe, by path or packaged name (`captioners list recipes`); with --check, a bundle's folder."
        ),
    ],
    changes: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it.")] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="OBJECTIVE",
            help="Say which mix of captioners gains most per second of 'facts told' or 'captions in effect', among "
            "those who say what is true (the recipe's `budget.gate`, `least`, `captions`).",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Make a bundle's numbers again from what it carries, and compare.")
    ] = False,
) -> None:
    """Make, measure and probe the captions of every arm of a recipe, doing only what is missing.

    Captioners are fine-tuned, captions drawn once for all arms, exported and embedded; each arm is measured, and small
    students are trained on it. The page stands from the first arm on. Stopped, the same command goes on; an arm that
    cannot be had stands there with its reason. `captioners plan RECIPE` says beforehand what is missing.

    With --check: every number of a bundle (`captioners report ABLATION --to bundle`) is made again from its captions
    and results, without a picture or a model, and one that differs is named.
    """
    if check:
        _check(recipe, [*(changes or ()), *([] if budget is None else ["--budget"])])
        return
    from captioners.core.recipe import read_recipe
    from captioners.jobs.ablate.job import ablate
    from captioners.jobs.recipes.ablate import AblateRecipe

    found = read_recipe(recipe, [*(changes or ()), *([] if budget is None else [f"budget.objective={budget}"])])
    options = found.options
    if not isinstance(options, AblateRecipe):
        from captioners.core.errors import UserError

        raise UserError(f"{recipe} is a recipe of the job '{found.job}'; run it with 'captioners {found.job} {recipe}'")
    with Display() as display:
        run = ablate(options, name=found.path.stem, say=typer.echo, show=display)
    typer.echo()
    for arm, reason in run.failed.items():
        typer.echo(f"arm {arm} failed: {reason}", err=True)
    for control in run.unheld:
        typer.echo(f"control failed: {control}", err=True)
    done(run.page, f"captioners report {run.directory} --to html")
    if run.failed or run.unheld:
        raise typer.Exit(2)


def _check(bundle: str, changes: Sequence[str]) -> None:
    from captioners.core.errors import UserError
    from captioners.jobs.publish.check import CARRIED, check_bundle

    if changes:
        raise UserError(f"--check makes a bundle again as it was made; leave out {' '.join(changes)}")
    found = check_bundle(bundle, typer.echo)
    for line in found.wrong:
        typer.echo(line, err=True)
    if found.wrong:
        typer.echo(f"{bundle}: {len(found.wrong):,} values or files differ", err=True)
        raise typer.Exit(2)
    typer.echo(f"{bundle}: {found.rows:,} arms made again, all of their {found.numbers:,} values as claimed")
    typer.echo(f"taken over as claimed: {CARRIED}")
