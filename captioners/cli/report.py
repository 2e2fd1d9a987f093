"""`captioners report`: write a page to look at a run, or at two captioners side by side; count the votes on them."""

from pathlib import Path
from typing import Annotated

import typer

from captioners.cli.ending import done
from captioners.core.errors import UserError


def command(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN|A B", help="A run or an ablation: its directory, or its name under runs/; or two captioners."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to write.", show_default="report.html in the run; comparison.html"),
    ] = None,
    images: Annotated[int, typer.Option(help="Images on the page, chosen by a hash; a page has at most 10 MB.")] = 200,
    no_images: Annotated[bool, typer.Option("--no-images", help="Captions alone, without pictures.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed chooses other images.")] = 0,
    data: Annotated[
        str | None,
        typer.Option(help="Of two captioners: a path, or a source as in a recipe.", show_default="packaged photos"),
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(help="Of two captioners: a frozen CLIP that is neither, such as ViT-B-32/openai.")
    ] = None,
    blind: Annotated[bool, typer.Option("--blind", help="Of two captioners: hide which is which, and vote.")] = False,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Of an ablation: html, latex, markdown, csv or bundle.", show_default="html"),
    ] = None,
    votes: Annotated[
        list[str] | None, typer.Option("--votes", metavar="FILE...", help="Count votes on a blind page.")
    ] = None,
) -> None:
    """Write one HTML page about a run: every member's captions under their images, counts, lengths, provenance.

    Of two captioners A and B: did it get better? Both caption the images of --data; the worst regressions come first,
    then the biggest gains and a random sample. With --blind the page hides which is which and collects votes, and
    `--votes votes-*.json` says whose captions people prefer.

    Of an ablation: the page of all its arms, or with --to what a paper needs: tables, every figure as SVG and PDF with
    its numbers, a paragraph of methods with its sources; or a bundle that others can check without pictures.

    A page opens from disk, on a phone, in the dark, and asks the network for nothing. A run that is not finished has a
    page, too, about what is done.
    """
    named = what or []
    if votes:
        _count([*votes, *(given for given in named if given.endswith(".json"))], out)
    elif to is not None and len(named) != 1:
        raise UserError(f"--to {to} is for an ablation; name one: captioners report ABLATION --to {to}")
    elif len(named) == 2:
        _compare(named, data, out, images, not no_images, blind, scorer, seed)
    elif len(named) != 1:
        raise UserError(f"{len(named)} names were given; report takes one run, or two captioners A B")
    elif data is not None or scorer is not None or blind:
        raise UserError("--data, --scorer and --blind are for two captioners; name both: captioners report A B")
    elif not _published(named[0], to, out):
        _report(named[0], out, images, no_images, seed)


def _published(given: str, to: str | None, out: Path | None) -> bool:
    """Write what is asked for of an ablation, and return whether that is what was named."""
    from captioners.jobs.publish.job import ablation_of, publish

    if to is None and ablation_of(given) is None:
        return False
    written = publish(given, to or "html", out, typer.echo)
    typer.echo(f"{written.files:,} file{'' if written.files == 1 else 's'}, {written.size / 1e6:.1f} MB")
    more = {None: f"captioners report {given} --to latex", "bundle": f"captioners ablate {written.path} --check"}
    done(written.path, *([more[to]] if to in more else []))
    return True


def _report(run: str, out: Path | None, images: int, no_images: bool, seed: int) -> None:
    from captioners.jobs.runs.report import report

    written = report(run, out, images=images, pictures=not no_images, seed=seed)
    typer.echo(f"{written.images:,} images, {written.size / 1e6:.1f} MB")
    if written.missing:
        typer.echo(f"{written.missing:,} of them could not be shown; the page says why in their places", err=True)
    done(written.path, f"captioners verify {run}")


def _compare(
    two: list[str],
    data: str | None,
    out: Path | None,
    images: int,
    pictures: bool,
    blind: bool,
    scorer: str | None,
    seed: int,
) -> None:
    from captioners.jobs.compare.report import Asked, compare_report

    before, after = two
    shown = Asked(
        before=before,
        after=after,
        data=data,
        out=out,
        images=images,
        pictures=pictures,
        blind=blind,
        scorer=scorer,
        seed=seed,
    )
    written = compare_report(shown, typer.echo)
    typer.secho(written.sentence, bold=True)
    if written.skipped:
        typer.echo(f"{written.skipped:,} images could not be read and are left out", err=True)
    if blind:
        typer.echo(f"which is which stands in {written.beside}; keep it from the voters")
        done(written.page, f"captioners report --votes VOTES.json --out {written.page}")
    else:
        typer.echo(f"all numbers: {written.beside}")
        on = f" --data {data!r}" if data else ""
        again = f"captioners report {before} {after}{on} --blind"
        done(written.page, again)


def _count(files: list[str], out: Path | None) -> None:
    from captioners.jobs.compare.votes import KEY_ENDING, count_votes

    counted = count_votes(files, [out.with_suffix(KEY_ENDING)] if out is not None else [])
    typer.secho(counted.sentence, bold=True)
    if counted.key.same:
        typer.echo(f"of {counted.key.same:,} more images both said the same; they were not voted on")
