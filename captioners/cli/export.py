"""`captioners export`: write a captioner in a form that others read."""

from typing import Annotated

import typer

from captioners.cli.ending import done


def command(
    captioner: Annotated[str, typer.Argument(metavar="CAPTIONER", help="A captioner's name, directory or tag.")],
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="A new or empty folder to write.")],
    to: Annotated[
        str,
        typer.Option("--to", metavar="FORM", help="The form to write: open_clip, huggingface, huggingface:ORG/NAME."),
    ] = "open_clip",
) -> None:
    """Write a captioner as a folder that plain open_clip opens, bit for bit the same, with its card.

    It holds weights, configuration, tokenizer, licences and digests, and needs nothing of this package. For huggingface
    it is ready to be uploaded as a repository, with a model card; nothing is uploaded here.
    """
    from captioners.jobs.export.captioner import export_captioner

    written = export_captioner(captioner, to, out)
    for file in sorted(written.iterdir()):
        typer.echo(f"{file.stat().st_size:>14,} bytes  {file.name}")
    done(
        written,
        f"captioners caption PHOTO.jpg --captioner {written}",
        f"python -c \"import open_clip; open_clip.create_model_and_transforms('local-dir:{written}')\"",
    )
