"""`captioners check`: validate a recipe, a folder of recipes or a path before anything runs."""

from typing import Annotated

import typer

from captioners.cli.ending import done


def command(
    target: Annotated[str, typer.Argument(metavar="RECIPE|PATH", help="A recipe, a folder of recipes, or pictures.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Recipe overrides.")] = None,
) -> None:
    """Check a recipe (by path or name), a folder of recipes, a picture or a folder of pictures, loading no weights.

    All mistakes of a recipe are listed at once, with their lines; exit code 1 if there are any.
    """
    from captioners.jobs.check import check

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
