"""`captioners plan`: what a recipe will cost, before it runs."""

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioners.cli.ending import done
from captioners.core.errors import UserError

if TYPE_CHECKING:
    from captioners.jobs.plan.rows import Plan, Row

_STEPS = {
    "FLOP": (1000, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP", "ZFLOP")),
    "B": (1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB")),
    "B/s": (1000, ("B/s", "kB/s", "MB/s", "GB/s", "TB/s")),
}

_MOMENT = 0.01
_HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0}
_DEADLINE = re.compile(r"(\d+(?:\.\d+)?)([mhd])")


def command(
    recipe: Annotated[
        list[str] | None,
        typer.Argument(metavar="RECIPE [KEY=VALUE]...", help="A recipe, and what to change in it.", show_default=False),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:COUNT",
            help="h100:8, say; this:8 is so many of the machine that was measured.",
            show_default="training: what the recipe names; captions: this machine, measured",
        ),
    ] = None,
    assume: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Another assumption; see the plan's last lines.")
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="Scale this measurement; measure nothing.")] = None,
    save: Annotated[Path | None, typer.Option(help="Keep the measurement, for --calibration.")] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, help="How many images to measure on.", show_default="16 on a CPU, 2,048 on a GPU"),
    ] = None,
    price_per_gpu_hour: Annotated[float | None, typer.Option(min=0, help="What a machine's hour costs you.")] = None,
    egress_per_gb: Annotated[float | None, typer.Option(min=0, help="What reading 1e9 bytes costs you.")] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="24h", help="Say how many machines finish in this time: 30m, 24h, 2d.")
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Simulate it with failures and stragglers.")] = False,
    run: Annotated[str | None, typer.Option("--from", metavar="RUN", help="Plan what is left of a run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what a recipe will cost before it runs: hours, GPU-hours, bytes, money.

    Captions are measured here on a few images and scaled; for a GPU where nothing was measured, and for training, the
    time is modelled from the operations, the GPU's peak and a range of utilisation.
    """
    from captioners.jobs.plan.captioning import Asked
    from captioners.jobs.plan.job import Measured, plan, plan_rest

    asked = Asked(gpus, price_per_gpu_hour, egress_per_gb, _hours(deadline), simulate)
    if run is not None:
        if recipe or calibration or save or images:
            raise UserError(
                "--from RUN plans with the run's own recipe and ledger; leave out the recipe and --calibration"
            )
        made = plan_rest(run, asked, assume or [])
    elif not recipe:
        raise UserError("which recipe? give one (`captioners list recipes`), or --from RUN for what is left of a run")
    else:
        measured = Measured(calibration, save, images)
        made = plan(recipe[0], recipe[1:], asked, assume or [], measured, lambda text: typer.echo(text, err=True))
    if as_json:
        typer.echo(json.dumps(made.to_json(), indent=2, ensure_ascii=False))
        return
    typer.echo("\n".join(lines(made)))
    if recipe:
        said = shlex.join(recipe)
        done(save, f"captioners {made.job} {said}", f"captioners check {said}")
    else:
        done(None, f"captioners generate {made.recipe}/recipe.yaml", f"captioners status {made.recipe}")


def _hours(text: str | None) -> float | None:
    if text is None:
        return None
    found = _DEADLINE.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise UserError(f"--deadline {text}: a time like 30m, 24h or 2d")
    return float(found[1]) * _HOURS[found[2]]


def lines(made: "Plan") -> list[str]:
    """Return a plan as a person reads it."""
    rows = [row for section in made.sections for row in section.rows]
    names = max(len(row.what) for row in rows)
    figures = max(len(figure(row)) for row in rows)
    said = [f"{made.recipe} on {made.fleet}: {made.basis}"]
    for section in made.sections:
        said += ["", section.title]
        said += [
            f"  {row.what:<{names}}  {figure(row):>{figures}}  {row.known:<8}  {row.how}".rstrip()
            for row in section.rows
        ]
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
