"""`captioners pretrain`: train a captioner from random weights, as a recipe says."""

from typing import Annotated

import typer


def command(
    recipe: Annotated[
        list[str], typer.Argument(metavar="RECIPE [KEY=VALUE]...", help="A recipe, and what to change in it.")
    ],
) -> None:
    """Train a captioner from random weights on images with captions, and write it as a directory.

    Stopped (Ctrl-C, SIGTERM, kill -9), the same command goes on from the last checkpoint: `captioners pretrain my.yaml`
    On several GPUs (all processes see one output folder): `torchrun --nproc-per-node 8 -m captioners pretrain ...`
    """
    from captioners.cli.finetune import run
    from captioners.core.processes import said_once
    from captioners.core.recipe import read_options
    from captioners.jobs.recipes.pretrain import PretrainRecipe

    with said_once():
        options = read_options(PretrainRecipe, recipe[0], recipe[1:])
    run(options)
