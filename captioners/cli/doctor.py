"""`captioners doctor`: say what this machine has, as Markdown to paste into a bug report."""

import typer

from captioners.cli.ending import done


def command() -> None:
    """Say what this machine has: versions, devices, extras, image codecs, caches, disk. Paste it into a bug report.

    Nothing secret is printed: no tokens, no environment but a few switches, and the home directory as ~.
    """
    from captioners.jobs.doctor import examine

    for title, rows in examine().items():
        typer.echo(f"**{title}**\n")
        for name, finding in rows:
            typer.echo(f"- {name}: {finding}")
        typer.echo()
    done(None, "captioners demo")
