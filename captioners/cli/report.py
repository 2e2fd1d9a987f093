"""`captioners report`: write a page to look at a run."""

from pathlib import Path
from typing import Annotated

import typer

from captioners.cli.ending import done


def command(
    run: Annotated[str, typer.Argument(help="A run's directory, its name under runs/, or 'latest'.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write.", show_default="report.html in the run")
    ] = None,
    images: Annotated[int, typer.Option(help="Images on the page, chosen by a hash; a page has at most 10 MB.")] = 200,
    no_images: Annotated[bool, typer.Option("--no-images", help="Captions alone, without pictures.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed chooses other images.")] = 0,
) -> None:
    """Write one HTML page about a run: every member's captions under their images, counts, lengths, provenance.

    It opens from disk, on a phone, in the dark, and asks the network for nothing. A run that is not finished has a
    page, too, about what is done.
    """
    from captioners.jobs.report import report

    written = report(run, out, images=images, pictures=not no_images, seed=seed)
    typer.echo(f"{written.images:,} images, {written.size / 1e6:.1f} MB")
    if written.missing:
        typer.echo(f"{written.missing:,} of them could not be shown; the page says why in their places", err=True)
    done(written.path, f"captioners verify {run}")
