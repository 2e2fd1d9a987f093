"""`captioners verify`: check a run against its own ledger."""

from typing import Annotated

import typer

from captioners.cli.ending import done


def command(
    run: Annotated[str, typer.Argument(help="A run's directory, its name under runs/, or 'latest'.")] = "latest",
    again: Annotated[
        int, typer.Option("--again", metavar="N", min=0, help="Make the captions of N samples once more, and compare.")
    ] = 0,
    shards: Annotated[
        int, typer.Option("--shards", metavar="N", min=0, help="Read N whole shards again and make all their captions.")
    ] = 0,
    no_weights: Annotated[bool, typer.Option("--no-weights", help="Do not hash the captioners' weights.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed chooses other samples and shards.")] = 0,
) -> None:
    """Check sums, files, rows and parts of a run, and the weights that made it. Every finding is a line; exit code 2.

    A caption made again is the same, a near tie (what rounding on another machine may change) or wrong; only the wrong
    ones are findings. Files that no ledger entry names are listed, and are no finding: a stopped worker left them.
    """
    from captioners.jobs.runs.verify import verify

    found = verify(run, weights=not no_weights, again=again, shards_again=shards, seed=seed)
    for finding in found.findings:
        typer.echo(f"finding: {finding}", err=True)
    for note in found.notes:
        typer.echo(note)
    for name in found.orphans:
        typer.echo(f"in no ledger entry, so nobody reads it: {name}")
    for name, left in found.unfinished.items():
        typer.echo(f"member {name}: {left:,} of {found.shards:,} shards are not captioned to their end yet")
    if found.again:
        typer.echo("made again: " + ", ".join(f"{count} {outcome}" for outcome, count in found.again.most_common()))
    rows = sum(counts.rows for counts in found.counts.values())
    count = len(found.findings)
    typer.echo(f"\n{found.units:,} units, {rows:,} captions: {count or 'no'} finding{'' if count == 1 else 's'}")
    if found.damaged:
        done(None, f"captioners retry {run} --damaged")
    if found.findings:
        raise typer.Exit(2)
    if found.unfinished:
        done(None, f"captioners status {run}")
    else:
        done(None, f"captioners report {run}")
