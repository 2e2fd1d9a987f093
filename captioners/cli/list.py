"""`captioners list`: what exists, by name, and everything about one thing."""

import shutil
import textwrap
from typing import Annotated

import typer

from captioners.cli.ending import done


def command(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT", help="kinds, captioners, sources, decodings, metrics, scores, recipes or data-cards."
        ),
    ] = None,
    name: Annotated[str | None, typer.Argument(help="One of them, to be shown whole.")] = None,
) -> None:
    """List kinds, captioners, sources, decodings, metrics, recipes or data cards; with NAME, show that one whole.

    'captioners list recipes caption/photos > mine.yaml' gives a commented recipe to edit.
    """
    from captioners.jobs.listing import details, listing, sorts

    if what is None:
        for sort in sorts():
            typer.echo(f"{sort:<12} {len(listing(sort).rows)}")
        done(None, "captioners list captioners", "captioners list recipes")
        return
    if name is not None:
        # Nothing but the thing itself: this is what gets redirected into a file.
        typer.echo(details(what, name))
        return
    found = listing(what)
    width = max((len(row[0]) for row in found.rows), default=0) + 3
    screen = shutil.get_terminal_size().columns
    for row in found.rows:
        lines = textwrap.wrap(row[1], max(screen - width, 30)) or [""]
        typer.echo(f"{row[0]:<{width}}" + f"\n{' ' * width}".join(lines))
    things = found.what if len(found.rows) != 1 else found.what.removesuffix("s")
    typer.echo(f"\n{len(found.rows)} {things}; {found.note}" if found.rows else f"{things}: {found.note}")
