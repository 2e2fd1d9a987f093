"""`captioners data`: draw a dataset, or pack one into shards."""

from pathlib import Path
from typing import Annotated

import typer

from captioners.cli.ending import done

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Draw a dataset, or pack one into shards."""


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
    from captioners.jobs.data.draw import DrawOptions, data_draw

    options = DrawOptions(
        out=out, count=count, seed=seed, split=split, per_shard=per_shard, voice=voice, captions=captions
    )
    shards = data_draw(options, typer.echo)
    typer.echo(f"{sum(shards.values())} scenes of the split {split} in {len(shards)} shards")
    done(out)


@app.command()
def pack(
    inputs: Annotated[str, typer.Argument(metavar="INPUT", help="A folder, a JSONL file, tars or a quoted pattern.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the shards; new or empty.")],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options of the source: caption_column=text.")
    ] = None,
    per_shard: Annotated[int, typer.Option(min=1, help="Samples in a tar.")] = 1000,
) -> None:
    """Pack pictures and their captions into webdataset shards; the images' bytes stay as they are.

    What cannot be packed is listed in OUT/quarantine.jsonl with its reason. Nothing is decoded: a picture that is
    damaged inside is found when it is captioned. OUT appears when it is whole.
    """
    from captioners.jobs.data.pack import data_pack

    packed = data_pack(inputs, out, per_shard, changes or [], typer.echo)
    typer.echo(packed.recognised)
    good, bad = sum(packed.sizes.values()), sum(packed.reasons.values())
    reasons = "".join(f"; {reason} {count:,}" for reason, count in sorted(packed.reasons.items()))
    typer.echo(f"{packed.read:,} read = {good:,} packed + {bad:,} quarantined{reasons}")
    typer.echo(f"{packed.captioned:,} with a caption, {packed.renamed:,} under a new key, {len(packed.sizes):,} shards")
    done(out)
