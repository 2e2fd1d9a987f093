"""`captioners generate`: caption shards, JSONL files or folders with an ensemble; the same command resumes."""

from typing import TYPE_CHECKING, Annotated

import typer

from captioners.cli.arguments import check_shard_arguments
from captioners.cli.ending import done
from captioners.core.progress import Display, clock_time

if TYPE_CHECKING:
    from captioners.jobs.generate.job import GenerateRun
    from captioners.jobs.recipes.generate import GenerateRecipe


def command(
    what: Annotated[
        list[str],
        typer.Argument(metavar="PATHS|RECIPE", help="Shards, JSONL files, folders; or a recipe and KEY=VALUE."),
    ],
    captioner: Annotated[
        str | None, typer.Option("--captioner", "-c", help="Name, directory, open_clip MODEL/TAG, MODEL@FILE.")
    ] = None,
    draws: Annotated[int | None, typer.Option("-n", help="Captions of each image.", show_default="5")] = None,
    decoding: Annotated[
        str | None,
        typer.Option(
            "--decoding", "-d", help="greedy, '{top_p: 0.9}', '{beam: {width: 8}}' ...", show_default="top_p 0.9"
        ),
    ] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help="The run's folder.", show_default="runs/...")] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(metavar="MEMBER", help="Set this member's captions aside, made otherwise, and make them anew."),
    ] = None,
) -> None:
    """Caption every image of shards, JSONL files or folders, with one captioner or a recipe's ensemble.

    Stop it when you like: the same command continues, also with more shards, one more member or other workers.
    """
    check_shard_arguments(what)
    from captioners.jobs.generate.job import generate
    from captioners.jobs.generate.quick import quick_recipe

    recipe, name, recognised = quick_recipe(what, captioner=captioner, draws=draws, decoding=decoding, out=out)
    typer.echo(recognised)
    with Display() as display:
        run = generate(recipe, name=name, replace=replace or (), say=typer.echo, show=display)
    report(recipe, run)
    done(run.directory, f"captioners report {run.directory}", f"captioners status {run.directory}")
    if run.quarantined > recipe.quarantine_ceiling or run.failed or run.alarms:
        raise typer.Exit(2)


def report(recipe: "GenerateRecipe", run: "GenerateRun") -> None:
    """Print the sums by member, the pace, and what could not be read."""
    for member in recipe.members:
        counts = run.stored.get(member.called)
        if counts is not None:
            typer.echo(
                f"{member.called}: {counts.read:,} samples = {counts.captioned:,} captioned + "
                f"{counts.filtered:,} filtered + {counts.quarantined:,} quarantined; {counts.rows:,} captions"
            )
    progress = run.progress
    if progress.captions:
        rate = progress.captions / progress.elapsed
        typer.echo(f"{progress.captions:,} captions in {clock_time(progress.elapsed)} ({rate:.1f} captions/s)")
    for reason, (number, example) in sorted(run.reasons.items()):
        typer.echo(f"quarantined, {reason}: {number:,}, such as {example}", err=True)
    for failed in run.failed:
        typer.echo(f"set aside: {failed.shard}, for {failed.deaths} workers ended over it", err=True)
    if run.failed:
        typer.echo(f"captioners retry {run.directory} --failed tries what is set aside again", err=True)
    if run.alarms:
        typer.echo(f"{run.alarms:,} alarms; captioners status {run.directory} shows them", err=True)
    if any(str(member.captioner).startswith("random") for member in recipe.members):
        typer.echo("the weights are random: the words mean nothing, every step is the real one")
