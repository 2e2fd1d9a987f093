"""`captioners measure`: lay caption sets side by side, or score a run's captions one by one."""

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Annotated

import typer

from captioners.cli.ending import done
from captioners.core.errors import UserError


def command(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN... [KEY=VALUE]...",
            help="Runs: directories, names under runs/, 'latest'. Options: seed=1, workers=4; of a score: scorer=NAME.",
        ),
    ],
    references: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="What people wrote: a path, {kind: coco, ...}, or 'own' of the run."),
    ] = None,
    clip: Annotated[
        str | None, typer.Option(metavar="NAME", help="A frozen judge: an open_clip MODEL/TAG, local-dir:DIR, ...")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every metric, not the short table.")] = False,
    common: Annotated[bool, typer.Option("--common", help="Measure the images that all sets have.")] = False,
    json_file: Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write the table as JSON.")] = None,
    parquet: Annotated[str | None, typer.Option(metavar="FILE", help="Write each image's numbers as Parquet.")] = None,
    per_caption: Annotated[
        str, typer.Option("--per-caption", metavar="NAME", help="clipscore, clip_cosine, words, logprob_per_token.")
    ] = "",
) -> None:
    """Measure diversity, truth and quality of a run's captions, member by member; or score every caption by itself.

    Sets of unequal numbers of captions are compared at the smallest. What is measured stays: stopped, or when the run
    has gone on, the same command does the rest. With --per-caption NAME, every caption gets one score, into a layer
    that `export` can select by.
    """
    files = {"--json": json_file, "--parquet": parquet}
    if per_caption:
        told = {"--references": references, "--clip": clip, "--all": everything, "--common": common}
        _refuse_beside(per_caption, [name for name, value in (told | files).items() if value])
        _score(what[0], per_caption, what[1:])
        return
    for option, file in files.items():  # before anything is measured for them
        _refuse_unwritable(option, file)
    from captioners.jobs.measure.quick import measure_runs, options_of

    said = {"references": references, "clip": clip, "all_metrics": everything, "common": common}
    runs, options = options_of(what, **said)
    found = measure_runs(runs, options, typer.echo)
    typer.echo(found.as_text(max(80, shutil.get_terminal_size().columns)))
    if json_file is not None:
        Path(json_file).write_text(json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if parquet is not None:
        found.write_parquet(parquet)
    given = [
        word for name, said in (("references", references), ("clip", clip)) if said for word in (f"--{name}", said)
    ]
    more = [] if everything else [shlex.join(["captioners", "measure", *what, *given, "--all"])]
    done(None, *more, f"captioners report {runs[0]}")


def _refuse_beside(score: str, options: list[str]) -> None:
    """Raise UserError for options that say nothing to a score of single captions."""
    if options:
        judge = "; its judge is told as scorer=NAME" if "--clip" in options else ""
        raise UserError(
            f"--per-caption {score}: {', '.join(options)} is of the table, and a score of single captions takes "
            f"none of it{judge}; leave it out, or --per-caption"
        )


def _refuse_unwritable(option: str, file: str | None) -> None:
    """Raise UserError where a file cannot be written when all is measured."""
    if file is None:
        return
    folder = Path(file).parent
    if Path(file).is_dir():
        raise UserError(f"{option} {file}: is a folder; name a file in it")
    if not folder.is_dir():
        raise UserError(f"{option} {file}: there is no folder {folder}; make it, or name another file")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{option} {file}: {folder} may not be written to; name another folder")


def _score(run: str, name: str, changes: list[str]) -> None:
    from captioners.jobs.measure.job import measure_captions

    found = measure_captions(run, name, changes, typer.echo)
    before = f"; {found.before:,} of {found.units:,} units were scored before" if found.before else ""
    mean = f", mean {found.mean:.4f}" if found.mean is not None else ""
    undefined = f", {found.undefined:,} undefined" if found.undefined else ""
    typer.echo(f"{found.score}: {found.captions:,} captions scored{mean}{undefined}{before}")
    if found.away:
        typer.echo(
            f"{found.away:,} captions have no score, as their pictures are not where the run found them: bring them "
            "back, and the same command scores these"
        )
    for folder in found.folders:
        typer.echo(f"  {folder}")
    select = f"select.n=1 select.by=score select.score={found.score}"
    done(None, f"captioners export {run} --to parquet --out captions {select}")
