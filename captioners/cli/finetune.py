"""`captioners finetune`: train a captioner further, as a recipe says."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from captioners.cli.ending import done

if TYPE_CHECKING:
    from captioners.jobs.recipes.finetune import FinetuneRecipe
    from captioners.jobs.recipes.pretrain import PretrainRecipe
    from captioners.jobs.train.watch import Progress


def command(
    what: Annotated[
        list[str],
        typer.Argument(metavar="PATHS|RECIPE [KEY=VALUE]...", help="Your captions, or a recipe; and what to change."),
    ],
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            help="Captioner to start from: name, directory, open_clip MODEL/TAG.",
            show_default="coca-l14-coco",
        ),
    ] = None,
) -> None:
    """Train a captioner further on images with captions, and write it as a directory that open_clip opens, too.

    A path is looked at, shared out and trained on as the recipe finetune/custom says. Stopped (Ctrl-C, SIGTERM,
    kill -9), the same command goes on from the last checkpoint: `captioners finetune my_photos/`
    On several GPUs (all processes see one output folder): `torchrun --nproc-per-node 8 -m captioners finetune ...`
    """
    from captioners.core.processes import is_main, said_once
    from captioners.jobs.train.quick import quick_recipe

    with said_once():
        recipe, recognised = quick_recipe(what, init)
    if is_main():
        typer.echo(recognised)
    run(recipe)


def run(recipe: "FinetuneRecipe | PretrainRecipe") -> None:
    """Train, and print what happens: a plain line each record, or on a terminal one line that is written over."""
    from captioners.core.processes import is_main
    from captioners.jobs.train.job import train

    live = sys.stdout.isatty()
    open_line = False

    def show(progress: "Progress") -> None:
        nonlocal open_line
        record, steps = progress.record, progress.steps
        left = (steps - record.step) * recipe.batch_size / record.samples_per_s
        line = (
            f"step {record.step:,}/{steps:,}  caption {record.caption:.3f}  contrastive {record.contrastive:.3f}"
            f"  lr {record.lr:.2e}  gradient {record.grad_norm:.2f}  {record.samples_per_s:,.0f} samples/s"
            f"  {left:,.0f} s left"
        )
        typer.echo(f"\r\x1b[K{line}" if live else line, nl=not live)
        open_line = live

    def say(line: str) -> None:
        nonlocal open_line
        typer.echo(f"\n{line}" if open_line else line)
        open_line = False

    finished = train(recipe, show, say)
    if not is_main():
        return
    if open_line:
        typer.echo()
    if finished.resumed_from:
        typer.echo(f"{finished.resumed_from} of {finished.steps} steps were done by earlier starts")
    done(
        finished.captioner,
        f"captioners caption PHOTO.jpg --captioner {finished.captioner}",
        f"captioners export {finished.captioner} --out DIR",
    )
