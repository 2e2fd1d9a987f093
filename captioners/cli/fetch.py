"""`captioners fetch`: download a captioner's weights ahead, to run offline later."""

from typing import Annotated

import typer

from captioners.cli.ending import done


def command(
    what: Annotated[
        str, typer.Argument(metavar="CAPTIONER|RECIPE", help="A captioner, or a recipe whose captioner is meant.")
    ],
    to: Annotated[
        str | None, typer.Option("--to", metavar="DIR", help="Write the captioner there too, as a directory.")
    ] = None,
) -> None:
    """Download and digest a captioner's weights; afterwards everything runs with HF_HUB_OFFLINE=1.

    `--to DIR` makes a directory that moves to a machine without a network and is given there as `--captioner DIR`.
    """
    from captioners.jobs.fetch import fetch

    fetched = fetch(what, to)
    typer.echo(
        f"{fetched.name}: {fetched.num_bytes / 1e9:.2f} GB of weights, sha256 over tensors {fetched.weights_digest}"
    )
    for part, licence in fetched.licences.items():
        typer.echo(f"  {part}: {licence}")
    if fetched.where is None:
        typer.echo("nothing was downloaded: its weights are made, not stored")
    name = str(fetched.where) if to else what
    done(fetched.where, f"captioners caption PHOTO.jpg --captioner {name}")
