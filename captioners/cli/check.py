"""`captioners check`: validate a recipe, a folder of recipes or a path before anything runs."""

from typing import Annotated

import typer

from captioners.cli.ending import done


def command(
    target: Annotated[str, typer.Argument(metavar="RECIPE|PATH", help="A recipe, a folder of recipes, or pictures.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Recipe overrides.")] = None,
    data: Annotated[
        bool, typer.Option("--data", help="Look at a whole set before training on it: every picture, every caption.")
    ] = False,
) -> None:
    """Check a recipe (by path or name), a folder of recipes, a picture or a folder of pictures, loading no weights.

    All mistakes of a recipe are listed at once, with their lines; exit code 1 if there are any. With --data, a finetune
    recipe or a path is read as `captioners finetune` would read it: counts, lengths, copies, and what looks wrong.
    """
    if data:
        _check_data([target, *(overrides or [])])
        return
    from captioners.jobs.check.job import check

    findings = check(target, overrides or [])
    for line in findings.right:
        typer.echo(f"right  {line}")
    for message in findings.wrong:
        typer.echo(f"wrong  {message}", err=True)
    typer.echo(
        f"\nchecked {len(findings.right) + len(findings.wrong)}: {len(findings.right)} right, "
        f"{len(findings.wrong)} wrong"
    )
    if findings.not_checked:
        typer.echo("not checked:")
    for line in findings.not_checked:
        typer.echo(f"  {line}")
    if findings.wrong:
        raise typer.Exit(1)
    done(None, *([findings.next_command] if findings.next_command else []))


def _check_data(what: list[str]) -> None:
    from captioners.jobs.check.data import check_data

    found = check_data(what)
    typer.echo(found.recognised)
    for line in found.lines:
        typer.echo(line)
    for warning in found.warnings:
        typer.echo(f"warning     {warning}", err=True)
    if found.problem:
        typer.echo(f"wrong       {found.problem}", err=True)
        raise typer.Exit(1)
    done(None, f"captioners finetune {' '.join(what)}")
