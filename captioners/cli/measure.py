"""`captioners measure`: score a run's captions one by one."""

from typing import Annotated

import typer

from captioners.cli.ending import done


def command(
    run: Annotated[str, typer.Argument(help="A run's directory, its name under runs/, or 'latest'.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Options of the score: scorer=MODEL/TAG, name=other_name."),
    ] = None,
    per_caption: Annotated[
        str, typer.Option("--per-caption", metavar="NAME", help="clipscore, clip_cosine, words, logprob_per_token.")
    ] = "",
) -> None:
    """Score every caption of a run by one metric, into a score layer that `export` can select by and every reader join.

    What is scored already stays: stopped, or when the run has gone on, the same command does the rest.
    """
    from captioners.jobs.measure.job import measure_captions

    found = measure_captions(run, per_caption, changes or [], typer.echo)
    before = f"; {found.before:,} of {found.units:,} units were scored before" if found.before else ""
    mean = f", mean {found.mean:.4f}" if found.mean is not None else ""
    undefined = f", {found.undefined:,} undefined" if found.undefined else ""
    typer.echo(f"{found.score}: {found.captions:,} captions scored{mean}{undefined}{before}")
    for folder in found.folders:
        typer.echo(f"  {folder}")
    select = f"select.n=1 select.by=score select.score={found.score}"
    done(None, f"captioners export {run} --to parquet --out captions {select}")
