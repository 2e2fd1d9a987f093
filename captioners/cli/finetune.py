"""`captioners finetune`: train a captioner further, as a recipe says."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from captioners.cli.ending import done

if TYPE_CHECKING:
    from captioners.jobs.finetune_recipe import FinetuneRecipe
    from captioners.jobs.pretrain_recipe import PretrainRecipe
    from captioners.jobs.train import Progress


def command(
    recipe: Annotated[
        list[str], typer.Argument(metavar="RECIPE [KEY=VALUE]...", help="A recipe, and what to change in it.")
    ],
) -> None:
    """Train a captioner further on images with captions, and write it as a directory that open_clip opens, too.

    Stopped (Ctrl-C, SIGTERM, kill -9), the same command goes on from the last checkpoint: `captioners finetune my.yaml`
    """
    from captioners.core.recipe import read_options
    from captioners.jobs.finetune_recipe import FinetuneRecipe

    run(read_options(FinetuneRecipe, recipe[0], recipe[1:]))


def run(recipe: "FinetuneRecipe | PretrainRecipe") -> None:
    """Train, and print what happens: a plain line each record, or on a terminal one line that is written over."""
    from captioners.jobs.train import train

    live = sys.stdout.isatty()

    def show(record: "Progress") -> None:
        left = (recipe.last_step - record.step) * recipe.batch_size / record.samples_per_s
        line = (
            f"step {record.step:,}/{recipe.last_step:,}  caption {record.caption:.3f}"
            f"  contrastive {record.contrastive:.3f}  lr {record.lr:.2e}  gradient {record.grad_norm:.2f}"
            f"  {record.samples_per_s:,.0f} samples/s  {left:,.0f} s left"
        )
        typer.echo(f"\r\x1b[K{line}" if live else line, nl=not live)

    finished = train(recipe, show, typer.echo)
    if live:
        typer.echo()
    if finished.resumed_from:
        typer.echo(f"{finished.resumed_from} of {finished.steps} steps were done by earlier starts")
    done(
        finished.captioner,
        f"captioners caption PHOTO.jpg --captioner {finished.captioner}",
        f"captioners export {finished.captioner} --out DIR",
    )
