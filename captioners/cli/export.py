"""`captioners export`: write a captioner, or a run's captions, in a form that others read."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from captioners.cli.ending import done, python, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from captioners.jobs.export.quick import CaptionerAsked
    from captioners.jobs.recipes.export import ExportRecipe


def command(
    what: Annotated[
        list[str],
        typer.Argument(metavar="CAPTIONER|RUN|RECIPE", help="A captioner, a run or a recipe; for these two KEY=VALUE."),
    ],
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="A new or empty folder to write.")] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORM",
            help="Of a captioner: open_clip, huggingface, huggingface:ORG/NAME. "
            "Of a run: webdataset, sidecar, jsonl, parquet, huggingface.",
        ),
    ] = None,
) -> None:
    """Write a captioner as a folder that plain open_clip opens, or a run's captions as files that others read.

    A captioner's folder holds weights, configuration, tokenizer, licences and digests, and needs nothing of this
    package. A run's captions are streamed, whatever their number, and may be chosen: select.n=5 select.by=diverse
    select.where="num_tokens > 5 and not truncated". webdataset writes the run's shards again with their captions, to
    train on, and sidecar the captions alone. Killed, the same command goes on. Nothing is uploaded here.
    """
    from captioners.jobs.export.quick import CaptionerAsked, asked

    found, said = asked(what, to, out)
    if isinstance(found, CaptionerAsked):
        _captioner(found)
    else:
        typer.echo(said)
        _run(found)


def _captioner(asked: "CaptionerAsked") -> None:
    from captioners.jobs.export.captioner import export_captioner

    written = export_captioner(asked.captioner, asked.form, asked.out)
    for file in sorted(written.iterdir()):
        typer.echo(f"{file.stat().st_size:>14,} bytes  {file.name}")
    done(
        written,
        f"captioners caption PHOTO.jpg --captioner {quoted(written)}",
        python(f"import open_clip; open_clip.create_model_and_transforms({f'local-dir:{written}'!r})"),
    )


def _run(recipe: "ExportRecipe") -> None:
    from captioners.jobs.export.job import export_run

    exported = export_run(recipe, typer.echo)
    manifest = exported.manifest
    typer.echo(_sum(manifest["samples"], "read", "images"))
    typer.echo(_sum(manifest["captions"], "rows", "captions"))
    for note, count in manifest.get("notes", {}).items():
        typer.echo(f"{count:,} {note}")
    left = [f"less {quoted(f'{exported.folder}/left_out.jsonl')}"] if manifest["left_out"] else []
    if recipe.to == "webdataset":
        done(exported.folder, f"captioners verify {quoted(exported.folder)} --target mobileclip-dr", *left)
        return
    if recipe.to == "sidecar":
        joined = f"print(next(joined('SHARDS', {str(exported.folder)!r})).members['syn.json'])"
        done(exported.folder, python(f"from captioners.reinforcement.sidecar import joined; {joined}"), *left)
        return
    if recipe.captioned:
        done(exported.folder, *left)
        return
    reader = {"jsonl": "json", "parquet": "parquet"}.get(recipe.to)
    files = f"{exported.folder}/captions-*"
    named = repr(str(exported.folder)) if reader is None else f"'{reader}', data_files={files!r}"
    done(exported.folder, python(f"from datasets import load_dataset; print(load_dataset({named}))"), *left)


def _sum(sums: "Mapping[str, Any]", whole: str, noun: str) -> str:
    parts = [f"{number:,} {name.replace('_', ' ')}" for name, number in sums.items() if name != whole]
    return f"{sums[whole]:,} {noun} = {' + '.join(parts)}"
