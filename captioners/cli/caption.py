"""`captioners caption`: caption a photo, several, a folder, or what a recipe says."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioners.cli.arguments import check_shard_arguments
from captioners.cli.ending import done

if TYPE_CHECKING:
    from captioners.jobs.caption.job import Captioned, CaptionRun
    from captioners.jobs.recipes.caption import CaptionRecipe


def command(
    what: Annotated[
        list[str], typer.Argument(metavar="PATHS|RECIPE", help="Photos, folders; or a recipe and KEY=VALUE overrides.")
    ],
    captioner: Annotated[
        str | None, typer.Option("--captioner", "-c", help="Name, directory, open_clip MODEL/TAG, MODEL@FILE.")
    ] = None,
    draws: Annotated[
        int | None, typer.Option("-n", help="Captions a photo; above 1 they are sampled (top_p 0.9).")
    ] = None,
    decoding: Annotated[
        str | None, typer.Option("--decoding", "-d", help="greedy, raygen, '{top_p: 0.9}', '{beam: {width: 8}}' ...")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help="Where to write: captions.jsonl, or a folder.")] = None,
) -> None:
    """Caption photos: one beam-search caption each, or `-n 5` varied ones. Prints text, log-probability and time.

    A recipe (`captioners list recipes`) says the same and more: `captioners caption caption/varied inputs='[photos/]'`.
    """
    check_shard_arguments(what)
    from captioners.jobs.caption.job import caption
    from captioners.jobs.caption.quick import quick_recipe

    recipe, recognised = quick_recipe(what, captioner=captioner, draws=draws, decoding=decoding, out=out)
    typer.echo(recognised)
    run = caption(recipe, show)
    report(recipe, run)
    again = f"captioners caption {run.directory / 'recipe.yaml'}"
    done(
        run.captions,
        f"{again} seed={recipe.seed + 1}" if recipe.draws > 1 else f"{again} draws=5 decoding='{{top_p: 0.9}}'",
    )
    if run.quarantined:
        raise typer.Exit(2)


def show(picture: "Captioned") -> None:
    """Print one picture's captions: log-probability, length, text."""
    typer.secho(Path(picture.path).name, bold=True)
    for result in picture.results:
        logprob = f"{result.logprob:8.2f}" if result.logprob is not None else "       -"
        typer.echo(
            f"  {logprob}  {result.num_tokens:3d} tokens  {result.text}{'' if result.finish == 'eos' else ' ...'}"
        )


def report(recipe: "CaptionRecipe", run: "CaptionRun") -> None:
    """Print what was skipped, the sums, the pace, and what a reader must know of these captions."""
    for record in run.quarantined:
        typer.echo(f"skipped ({record['reason']}): {record['error']}", err=True)
    rate = run.captioned / run.seconds if run.seconds else 0.0
    typer.echo(
        f"\n{run.captioned} of {run.read} pictures, {run.rows} captions in {run.seconds:.1f} s ({rate:.2f} pictures/s) "
        f"after {run.loading_s:.1f} s of loading; {run.info['captioner']}, {run.info['grade']}, seed {recipe.seed}"
    )
    if recipe.decoding.cut:
        typer.echo(
            f"raygen is a reproduction: {run.cut / run.rows:.0%} of captions were stopped by its length limit, "
            f"{run.sentences_cut / run.rows:.0%} cut at a full stop"
        )
    elif run.cut:
        typer.echo(f"{run.cut} of {run.rows} captions were stopped by the length limit (shown by ...)")
    if "warning" in run.info:
        typer.echo(run.info["warning"], err=True)
    if recipe.captioner.startswith("random"):
        typer.echo("the weights are random: the words mean nothing, every step is the real one")
