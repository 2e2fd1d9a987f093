"""`captioners show`: one sample of a run, its captions and where they come from."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from captioners.cli.ending import done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from captioners.jobs.runs.remake import Again
    from captioners.jobs.runs.show import Sample, Shown


def command(
    run: Annotated[str, typer.Argument(help="A run's directory, its name under runs/, or 'latest'.")],
    key: Annotated[str, typer.Argument(help="The sample's key, or SHARD:KEY.")],
    again: Annotated[bool, typer.Option("--again", help="Make its captions once more, and compare.")] = False,
) -> None:
    """Show one sample: every member's captions with log-probability, flags, decoding, captioner and versions.

    With --again the captioners of the run's recipe make them once more: the same, a near tie (the rounding of another
    machine decided otherwise), or they differ; then the exit code is 2.
    """
    from captioners.jobs.runs.show import again as make_again
    from captioners.jobs.runs.show import show

    sample = show(run, key)
    _say(sample)
    if not again:
        done(None, f"captioners show {run} '{sample.shard}:{sample.key}' --again")
        return
    made = make_again(run, sample)
    _say_again(made)
    if any(one.outcome == "wrong" for one in made):
        raise typer.Exit(2)


def _say(sample: "Sample") -> None:
    typer.secho(sample.key, bold=True)
    typer.echo(f"shard        {sample.shard}")
    if sample.quarantine:
        typer.echo(f"quarantined  {sample.quarantine['reason']}: {sample.quarantine['error']}")
    if sample.members:
        row = sample.members[0].rows[0]
        place = f", from byte {row['offset']:,} of its shard" if row["offset"] is not None else ""
        typer.echo(f"sample       {row['index']} of its shard, {row['size']:,} bytes{place}")
        typer.echo(f"sha256       {row['image_sha256']}")
    for shown in sample.members:
        _say_member(shown)


def _say_member(shown: "Shown") -> None:
    typer.secho(f"\n{shown.member}", bold=True)
    typer.echo(f"  captioner    {shown.captioner}, weights {shown.weights}")
    typer.echo(f"  decoding     {shown.decoding}")
    versions = ", ".join(f"{name} {value}" for name, value in sorted(shown.environment.items()))
    typer.echo(f"  environment  {versions}; stored {shown.finished}")
    for row in shown.rows:
        typer.echo(_line(row))
        if row["raw_text"] is not None:
            typer.echo(f"               as decoded: {row['raw_text']}")


def _line(row: "Mapping[str, Any]") -> str:
    logprob = f"{row['logprob']:8.2f}" if row["logprob"] is not None else "       -"
    said = f"draw {row['draw']}, attempt {row['attempt']}, {row['num_tokens']} tokens, {row['finish']}"
    flags = [*row["flags"], *([] if row["keep"] else ["refused"])]
    return f"  {logprob}  {row['text']}\n            ({'; '.join([said, *flags])})"


def _say_again(made: "list[Again]") -> None:
    typer.echo("\nmade again:")
    for one in made:
        name = f"{one.row['member']}, draw {one.row['draw']}"
        if one.outcome == "not made":
            typer.echo(f"  {one.outcome:<9} {name}: {one.why}")
        elif one.outcome == "same":
            typer.echo(f"  {one.outcome:<9} {name}{_moved(one)}")
        else:
            logprob = f" ({one.logprob:.2f})" if one.logprob is not None else ""
            typer.echo(f"  {one.outcome:<9} {name}: {one.text}{logprob}")


def _moved(one: "Again") -> str:
    before, after = one.row["logprob"], one.logprob
    if before is None or after is None:
        return ""
    return ", to the last bit" if before == after else f", log-probability off by {abs(before - after):.1e}"
