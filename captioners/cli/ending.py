"""The last lines of a verb: where the result is, and the one or two likely next commands."""

import shlex
from pathlib import Path

import typer

_LIVE = frozenset('"$`\\!')
"""What a shell reads between double quotes."""


def quoted(path: str | Path) -> str:
    """Return a path as it stands in a command, also one with blanks.

    >>> quoted("runs/latest"), quoted("my runs/latest")
    ('runs/latest', "'my runs/latest'")
    """
    return shlex.quote(str(path))


def python(code: str) -> str:
    r"""Return the command that runs a line of Python.

    >>> python("print('a b')")
    'python -c "print(\'a b\')"'
    """
    return f"python -c {shlex.quote(code)}" if _LIVE & set(code) else f'python -c "{code}"'


def done(run_path: str | Path | None, *next_commands: str) -> None:
    """Print the run's path (None: the verb wrote nothing) and up to two commands to try next."""
    if len(next_commands) > 2:
        raise ValueError(f"a verb ends with one or two next commands, got {len(next_commands)}")
    if run_path is not None:
        typer.echo(f"\nwritten: {run_path}")
    for number, command in enumerate(next_commands):
        typer.echo(f"{'next:   ' if number == 0 else '   or:  '} {command}")
