"""`captioners demo`: watch it work on the packaged photos."""

from typing import Annotated

import typer

from captioners.cli.ending import done


def command(
    captioner: Annotated[
        str | None, typer.Option("--captioner", "-c", help="Another captioner, such as coca-l14-coco.")
    ] = None,
) -> None:
    """Caption the packaged photos, two captions each, with a full-size CoCa: no GPU, no network, about a minute.

    Unless `--captioner` names a trained one, its weights are random: the words mean nothing, every step is real.
    """
    from captioners.cli.caption import report, show
    from captioners.jobs.caption import caption
    from captioners.jobs.demo import demo_recipe

    recipe = demo_recipe(captioner)
    typer.echo(f"captioning the packaged photos with {recipe.captioner}, two captions each")
    run = caption(recipe, show)
    report(recipe, run)
    done(run.captions, "captioners caption YOUR_PHOTO.jpg", "captioners list captioners")
