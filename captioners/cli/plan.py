"""`captioners plan`: what a recipe will cost, before it runs."""

from typing import TYPE_CHECKING, Annotated

import typer

from captioners.cli.ending import done

if TYPE_CHECKING:
    from captioners.jobs.plan.data import Row
    from captioners.jobs.plan.job import Plan

_STEPS = {
    "FLOP": (1000, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP", "ZFLOP")),
    "B": (1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB")),
    "B/s": (1000, ("B/s", "kB/s", "MB/s", "GB/s", "TB/s")),
}

_MOMENT = 0.01


def command(
    recipe: Annotated[
        list[str], typer.Argument(metavar="RECIPE [KEY=VALUE]...", help="A recipe, and what to change in it.")
    ],
    gpus: Annotated[
        str | None, typer.Option(metavar="NAME:COUNT", help="h100:8, say.", show_default="what the recipe names")
    ] = None,
    assume: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Another assumption; see the plan's last lines.")
    ] = None,
) -> None:
    """Say what a training recipe will cost: GPU-hours, memory of each GPU, disk.

    Modelled from the architecture, the GPU's peak and a range of utilisation; not measured.
    """
    from captioners.jobs.plan.job import plan

    made = plan(recipe[0], recipe[1:], gpus, assume or [])
    typer.echo("\n".join(lines(made)))
    done(None, f"captioners {made.job} {' '.join(recipe)}", f"captioners check {' '.join(recipe)}")


def lines(made: "Plan") -> list[str]:
    """Return a plan as a person reads it."""
    rows = [row for section in made.sections for row in section.rows]
    names = max(len(row.what) for row in rows)
    figures = max(len(figure(row)) for row in rows)
    said = [f"{made.recipe} on {made.fleet}: modelled, not measured"]
    for section in made.sections:
        said += ["", section.title]
        said += [f"  {row.what:<{names}}  {figure(row):>{figures}}  {row.how}".rstrip() for row in section.rows]
    return said


def figure(row: "Row") -> str:
    """Return a row's range in its unit, three digits of each end: `1,230 .. 4,560 GPU-h`."""
    if row.high == float("inf"):
        return "?"
    if row.unit.endswith("h") and row.high < _MOMENT:
        return f"under {_MOMENT} {row.unit}"
    base, units = _STEPS.get(row.unit, (1000, (row.unit,)))
    low, high, power = row.low, row.high, 0
    while high >= base and power + 1 < len(units):
        low, high, power = low / base, high / base, power + 1
    ends = list(dict.fromkeys((_digits(low), _digits(high))))
    return f"{' .. '.join(ends)} {units[power]}".rstrip()


def _digits(value: float) -> str:
    """Return three digits of a number, and all of a whole one.

    >>> [_digits(value) for value in (0.25, 3.14159, 143000, 12345.6)]
    ['0.25', '3.14', '143,000', '12,300']
    """
    if value == int(value):
        return f"{int(value):,}"
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"
