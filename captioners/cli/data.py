"""`captioners data`: draw, pack and join datasets."""

from pathlib import Path
from typing import Annotated

import typer

from captioners.cli.ending import done

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Draw, pack and join datasets."""


@app.command()
def draw(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the shards; new or empty.")],
    count: Annotated[int, typer.Option(min=1, help="Scenes.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenes and their captions.")] = 0,
    split: Annotated[
        str, typer.Option(help="pretrain, finetune, caption or eval; no scene is in two of them.")
    ] = "caption",
    per_shard: Annotated[int, typer.Option(min=1, help="Scenes in a tar.")] = 1000,
    voice: Annotated[str, typer.Option(help="Who wrote the .txt: alt_text, short, detailed, ...")] = "alt_text",
    captions: Annotated[int, typer.Option(min=1, help="Captions of every voice in the .json.")] = 5,
) -> None:
    """Draw scenes of the drawn world into webdataset shards: pictures, captions in several voices, exact contents.

    The drawn world proves a pipeline, not magnitudes. The same call writes the same bytes in the same environment.
    """
    from captioners.jobs.data_draw import DrawOptions, data_draw

    options = DrawOptions(
        out=out, count=count, seed=seed, split=split, per_shard=per_shard, voice=voice, captions=captions
    )
    shards = data_draw(options, typer.echo)
    typer.echo(f"{sum(shards.values())} scenes of the split {split} in {len(shards)} shards")
    done(out)
