"""`captioners status`: say how far a run is."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from captioners.cli.ending import done

if TYPE_CHECKING:
    from captioners.jobs.runs.status import MemberStatus, Status


def command(
    run: Annotated[str, typer.Argument(help="A run's directory, its name under runs/, or 'latest'.")] = "latest",
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say how far a run is: done and left for each member, what could not be read, where the time went.

    It reads the run and changes nothing, so it may be asked while workers run.
    """
    from captioners.jobs.runs.status import status

    found = status(run)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "done": found.done}, indent=2, ensure_ascii=False))
        return
    _say(found)
    if found.done:
        done(None, f"captioners report {run}", f"captioners verify {run}")
    else:
        done(None, f"captioners generate {found.files['recipe']}", f"captioners report {run}")


def _say(found: "Status") -> None:
    samples = f"{found.samples:,} samples" if found.samples is not None else "not all counted yet"
    typer.echo(f"{found.run}: {'done' if found.done else 'not finished'}; {_many(found.shards, 'shard')}, {samples}\n")
    for member in found.members:
        _say_member(member, found.shards)
    if not found.members:
        typer.echo("no member has begun")
    if found.images_per_second is not None:
        spent = sum(found.seconds.values())
        shares = ", ".join(f"{name} {seconds / spent:.0%}" for name, seconds in found.seconds.items())
        pace = f"{found.images_per_second:.2f} images/s, {found.captions_per_second:.2f} captions/s a worker"
        typer.echo(f"{pace}; {shares}; last stored {found.finished}")
    if found.quarantine:
        typer.echo("could not be read:")
    for lost in found.quarantine:
        typer.echo(f"  {lost.count:,} {lost.reason}, such as {lost.example}")
    for alarm in found.alarms:
        typer.echo(f"alarm, {alarm.name}: {alarm.text}")
    if found.orphans:
        typer.echo(f"{_many(found.orphans, 'file')} of a stopped or slower worker, which nobody reads")
    if found.drafts:
        typer.echo(f"{_many(found.drafts, 'file')} half written, by a worker at work or one that was killed")
    for what, where in found.files.items():
        typer.echo(f"{what:<12}{where}")


def _say_member(member: "MemberStatus", shards: int) -> None:
    counts = member.counts
    left = [f"{member.left:,} samples"] if member.left else []
    left += [f"{_many(member.unknown_shards, 'shard')} of unknown size"] if member.unknown_shards else []
    typer.secho(f"{member.name}", bold=True, nl=False)
    typer.echo(f"  {member.shards_done:,} of {_many(shards, 'shard')}, {' and '.join(left) or 'nothing'} left")
    typer.echo(
        f"  {counts.read:,} read = {counts.captioned:,} captioned + {counts.filtered:,} filtered "
        f"+ {counts.quarantined:,} quarantined"
    )
    kept = f"{member.kept:,} kept" if member.kept is not None else "kept: unknown, see `captioners verify`"
    typer.echo(f"  {counts.rows:,} captions, {kept}")
    if member.flags:
        typer.echo(f"  flags: {', '.join(f'{flag} {count:,}' for flag, count in member.flags.items())}")
    typer.echo()


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
