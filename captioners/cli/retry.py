"""`captioners retry`: try again what a run could not read, or what was set aside."""

from typing import Annotated

import typer

from captioners.cli.ending import done


def command(
    run: Annotated[str, typer.Argument(help="A run's directory, its name under runs/, or 'latest'.")] = "latest",
    reason: Annotated[
        list[str] | None,
        typer.Option("--reason", "-r", help="Why samples were quarantined (`status` names it); may be given again."),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Shards that were set aside, for workers died over them.")
    ] = False,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Units whose files are gone or changed, as `verify` finds them.")
    ] = False,
) -> None:
    """Read quarantined samples again and caption those that can be read by now; every other row stays as it is.

    For files that were mended, or a Pillow that reads more since. What was set aside or is damaged is only opened
    again: the same command (`generate`, `reinforce`) does it.
    """
    from captioners.core.run_dir import open_run
    from captioners.jobs.runs.retry import retry

    found = retry(run, reason or (), failed=failed, damaged=damaged, say=typer.echo)
    if reason:
        typer.echo(
            f"{found.samples:,} samples read again: {found.readable:,} readable by now, in {found.units:,} units"
        )
    for why, count in sorted(found.still.items()):
        typer.echo(f"  {count:,} still cannot be read: {why}")
    if failed:
        typer.echo(f"{found.failed:,} shards that were set aside are open again")
    if damaged:
        typer.echo(f"{found.damaged:,} damaged units are open again")
    if failed or damaged:
        done(None, f"captioners {open_run(found.run).job} {found.run}/recipe.yaml", f"captioners status {run}")
    else:
        done(None, f"captioners status {run}", f"captioners verify {run}")
