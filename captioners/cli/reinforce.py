"""`captioners reinforce`: embed captioned shards with an ensemble of teachers; the same command resumes."""

from typing import TYPE_CHECKING, Annotated

import typer

from captioners.cli.ending import done, quoted
from captioners.core.progress import Display, clock_time

if TYPE_CHECKING:
    from captioners.jobs.reinforce.job import ReinforceRun


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe, by path or packaged name (`captioners list recipes`).")],
    changes: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it.")] = None,
) -> None:
    """Augment the pictures of captioned shards, and embed them and all captions with an ensemble of teachers.

    Stop it when you like: the same command continues, also with more shards or other workers.
    """
    from captioners.core.recipe import read_recipe
    from captioners.jobs.recipes.reinforce import ReinforceRecipe
    from captioners.jobs.reinforce.job import reinforce

    found = read_recipe(recipe, changes or ())
    options = found.options
    if not isinstance(options, ReinforceRecipe):
        from captioners.core.errors import UserError

        raise UserError(f"{recipe} is a recipe of the job '{found.job}'; run it with 'captioners {found.job} {recipe}'")
    with Display() as display:
        run = reinforce(options, name=found.path.stem, say=typer.echo, show=display)
    report(run)
    shards = f"{run.directory}/shards"
    done(shards, f"captioners verify {quoted(shards)} --target mobileclip-dr")
    if run.quarantined > options.quarantine_ceiling or run.failed:
        raise typer.Exit(2)


def report(run: "ReinforceRun") -> None:
    """Print the sums, the pace, the size, and what was left out."""
    counts, progress = run.counts, run.progress
    typer.echo(f"{counts.read:,} samples = {counts.captioned:,} reinforced + {counts.quarantined:,} left out")
    if progress.images:
        rate = progress.images / progress.elapsed
        typer.echo(f"{progress.images:,} pictures in {clock_time(progress.elapsed)} ({rate:.1f} pictures/s)")
    if run.renewed:
        typer.echo(f"{run.renewed:,} captions had embeddings of other ones, and got their own")
    if run.written:
        typer.echo(f"{run.written:,} bytes in all")
    for reason, (number, example) in sorted(run.reasons.items()):
        typer.echo(f"left out, {reason}: {number:,}, such as {example}", err=True)
    for failed in run.failed:
        typer.echo(f"set aside: {failed.shard}, for {failed.deaths} workers ended over it", err=True)
    if run.failed:
        typer.echo(f"captioners retry {run.directory} --failed tries what is set aside again", err=True)
