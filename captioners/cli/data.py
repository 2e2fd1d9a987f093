"""`captioners data`: draw a dataset, pack one into shards, or join two sets of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captioners.cli.ending import done
from captioners.core.errors import UserError, near

if TYPE_CHECKING:
    from captioners.jobs.data.join_sides import Side

_BY = ("uid", "key", "image")

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Draw a dataset, pack one into shards, or join two sets of them."""


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


@app.command()
def join(
    a: Annotated[str, typer.Argument(metavar="A", help="Tar shards: a folder, a file or a quoted pattern.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The set whose members are added to A's samples.")],
    out: Annotated[
        Path | None,
        typer.Argument(metavar="[OUT]", help="Folder of the joined shards, new or empty; absent: only count."),
    ] = None,
    by: Annotated[str, typer.Option("--by", help="uid (in the json), key, or image: the digest of its bytes.")] = "uid",
) -> None:
    """Join two sets of shards, in any order and cut anywhere, and say what is missing on either side.

    Each sample of A that B has too is written with the members of both, A's where both have one: a release without
    pictures finds its pictures again. What is not joined is listed in OUT/left_out.jsonl with its reason.
    """
    from captioners.jobs.data.join import data_join

    if by not in _BY:
        raise UserError(f"--by {by}: samples are joined by {', '.join(_BY)}.{near(by, _BY)}")
    found = data_join(a, b, out, by, typer.echo)  # type: ignore[arg-type]
    _say_side("A", found.a)
    _say_side("B", found.b)
    for what, counted in (("added to A", found.added), ("differ, A's stands", found.differ)):
        if counted:
            typer.echo(f"{what}: {', '.join(f'.{name} {count:,}' for name, count in sorted(counted.items()))}")
    done(out, *([f"captioners check {out}"] if out is not None else [f"captioners data join {a} {b} OUT --by {by}"]))


def _say_side(name: str, side: "Side") -> None:
    from captioners.jobs.data.join_sides import PARTS

    counts = {part: getattr(side, part) for part in PARTS}
    parts = [f"{count:,} {part.replace('_', ' ')}" for part, count in counts.items() if count or part == "joined"]
    faults = f"; {side.faults:,} faults of shards" if side.faults else ""
    typer.echo(f"{name}: {side.read:,} read = {' + '.join(parts)}{faults}")
    for reason, examples in side.examples.items():
        typer.echo(f"   {reason.replace('_', ' ')}, such as {', '.join(examples)}", err=True)
