"""`captioners verify`: check a run against its own ledger, or shards against what a trainer takes."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from captioners.cli.ending import done, quoted
from captioners.core.errors import UserError

if TYPE_CHECKING:
    from captioners.jobs.shards.verify import Trap

_SHOWN = 20
"""Lines of one trap; the rest is counted."""


def command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|SHARDS",
            help="A run's directory, its name under runs/, or 'latest'; with --target shards, a folder or a pattern.",
        ),
    ] = "latest",
    again: Annotated[
        int, typer.Option("--again", metavar="N", min=0, help="Make the captions of N samples once more, and compare.")
    ] = 0,
    shards: Annotated[
        int, typer.Option("--shards", metavar="N", min=0, help="Read N whole shards again and make all their captions.")
    ] = 0,
    no_weights: Annotated[bool, typer.Option("--no-weights", help="Do not hash the captioners' weights.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed chooses other samples and shards.")] = 0,
    target: Annotated[
        str | None, typer.Option("--target", help="Check shards for every trap of a trainer: mobileclip-dr.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Write shards anew where that is safe; pictures stay.")] = False,
) -> None:
    """Check sums, files, rows and parts of a run, and the weights that made it. Every finding is a line; exit code 2.

    A caption made again is the same, a near tie (what rounding on another machine may change) or wrong; only the wrong
    ones are findings. Files that no ledger entry names are listed, and are no finding: a stopped worker left them.

    With --target, shards are looked through instead, and every trap is a line with its remedy; exit code 1.
    """
    if target is not None:
        _shards(run, target, fix)
        return
    if fix:
        raise UserError("--fix is for shards; say what they are for: --target mobileclip-dr")
    from captioners.jobs.runs.verify import verify

    found = verify(run, weights=not no_weights, again=again, shards_again=shards, seed=seed)
    for finding in found.findings:
        typer.echo(f"finding: {finding}", err=True)
    for note in found.notes:
        typer.echo(note)
    for name in found.orphans:
        typer.echo(f"in no ledger entry, so nobody reads it: {name}")
    for name, left in found.unfinished.items():
        typer.echo(f"member {name}: {left:,} of {found.shards:,} shards are not done to their end yet")
    if found.again:
        typer.echo("made again: " + ", ".join(f"{count} {outcome}" for outcome, count in found.again.most_common()))
    rows = sum(counts.rows for counts in found.counts.values())
    count = len(found.findings)
    rows_are = "captions" if found.job == "generate" else "samples"
    typer.echo(f"\n{found.units:,} units, {rows:,} {rows_are}: {count or 'no'} finding{'' if count == 1 else 's'}")
    if found.damaged:
        done(None, f"captioners retry {quoted(run)} --damaged")
    if found.findings:
        raise typer.Exit(2)
    if found.unfinished or found.job != "generate":
        done(None, f"captioners status {quoted(run)}")
    else:
        done(None, f"captioners report {quoted(run)}")


def _shards(given: str, target: str, fix: bool) -> None:
    from captioners.jobs.shards.verify import verify_shards

    told: Counter[str] = Counter()

    def say(shard: str, problem: "Trap") -> None:
        told[problem.trap] += 1
        if told[problem.trap] <= _SHOWN:
            typer.echo(f"{problem.trap}: {shard}: {problem}", err=True)

    found = verify_shards(given, target, fix=fix, say=say)
    for shard, changes in found.mended.items():
        typer.echo(f"mended: {shard}: {', '.join(changes)}")
    for trap, count in found.traps.most_common():
        if count > _SHOWN:
            typer.echo(f"{trap}: {count - _SHOWN:,} more", err=True)
    traps = found.traps.total()
    said = f"{traps:,} trap{'' if traps == 1 else 's'}" if traps else f"nothing that {target} would trip over"
    typer.echo(f"\n{found.shards:,} shards, {found.samples:,} samples: {said}")
    if traps:
        if found.mendable:
            done(None, f"captioners verify {quoted(given)} --target {target} --fix")
        raise typer.Exit(1)
