"""`captioners probe`: train small CLIP students that differ in their captions alone, and say which were worth more."""

from typing import Annotated

import typer

from captioners.cli.ending import done


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe, by path or packaged name (`captioners list recipes`).")],
    changes: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it.")] = None,
) -> None:
    """Train a student for each arm, seed and weight of distillation, judge it, and compare the arms.

    Stop it when you like: the same command continues, also with more arms or seeds.
    """
    from captioners.core.recipe import read_options
    from captioners.jobs.probe.job import probe
    from captioners.jobs.probe.words import lines
    from captioners.jobs.recipes.probe import ProbeRecipe

    options = read_options(ProbeRecipe, recipe, changes or ())
    run = probe(options, say=typer.echo)
    for line in lines(run, options):
        typer.echo(line)
    done(run.directory)
    if run.failed or not all(check.holds for check in run.checks):
        raise typer.Exit(2)
