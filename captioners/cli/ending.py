"""The last lines of a verb: where the result is, and the one or two likely next commands."""

from pathlib import Path

import typer


def done(run_path: str | Path | None, *next_commands: str) -> None:
    """Print the run's path (None: the verb wrote nothing) and up to two commands to try next."""
    if len(next_commands) > 2:
        raise ValueError(f"a verb ends with one or two next commands, got {len(next_commands)}")
    if run_path is not None:
        typer.echo(f"\nwritten: {run_path}")
    for number, command in enumerate(next_commands):
        typer.echo(f"{'next:   ' if number == 0 else '   or:  '} {command}")
