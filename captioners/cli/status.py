"""`captioners status`: say how far a run is."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from captioners.cli.ending import done
from captioners.core.progress import clock_time

if TYPE_CHECKING:
    from captioners.jobs.runs.pace import Pace
    from captioners.jobs.runs.status import MemberStatus, Status

_WATCH_S = 10.0


def command(
    run: Annotated[str, typer.Argument(help="A run's directory, its name under runs/, or 'latest'.")] = "latest",
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Say it again every 10 seconds until it is done.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Print the last errors of the workers.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove files of stopped workers, a day old or more.")] = False,
) -> None:
    """Say how far a run is: done and left for each member, what could not be read, where the time went.

    It reads the run and changes nothing (without --clear), so it may be asked while workers run.
    """
    from captioners.core.run_dir import open_run
    from captioners.jobs.runs.status import clear_orphans, status

    if errors:
        _say_errors(run)
        return
    if clear:
        typer.echo(f"removed: {_many(clear_orphans(run), 'file')} that no ledger entry names")
    found = status(run)
    job = open_run(run).job
    while True:
        if as_json:
            typer.echo(json.dumps({**asdict(found), "done": found.done}, indent=2, ensure_ascii=False))
        else:
            _say(found, job)
        if not watch or found.done:
            break
        time.sleep(_WATCH_S)
        found = status(run)
    if as_json:
        return
    look = (
        f"captioners report {run}"
        if job == "generate"
        else f"captioners verify {found.run}/shards --target mobileclip-dr"
    )
    if found.done:
        done(None, look, f"captioners verify {run}")
    else:
        done(None, f"captioners {job} {found.files['recipe']}", look)


def _say(found: "Status", job: str) -> None:
    samples = f"{found.samples:,} samples" if found.samples is not None else "not all counted yet"
    typer.echo(f"{found.run}: {'done' if found.done else 'not finished'}; {_many(found.shards, 'shard')}, {samples}\n")
    for member in found.members:
        _say_member(member, found.shards, job)
    if not found.members:
        typer.echo("no member has begun")
    if found.images_per_second is not None:
        spent = sum(found.seconds.values())
        shares = ", ".join(f"{name} {seconds / spent:.0%}" for name, seconds in found.seconds.items())
        captions = f", {found.captions_per_second:.2f} captions/s" if job == "generate" else ""
        typer.echo(f"{found.images_per_second:.2f} images/s{captions} a worker; {shares}; last stored {found.finished}")
        typer.echo(f"spent: {spent / 3600:,.2f} hours of workers")
    if found.pace is not None and not found.done:
        _say_pace(found.pace)
    if found.quarantine:
        typer.echo("could not be read:")
    for lost in found.quarantine:
        typer.echo(f"  {lost.count:,} {lost.reason}, such as {lost.example}")
    for failed in found.failed:
        typer.echo(
            f"set aside: {failed.shard}, {_many(failed.deaths, 'worker')} ended over it, the last {failed.how}; "
            f"captioners retry {found.run} --failed tries it again"
        )
    if found.alarms_count:
        typer.echo(f"{_many(found.alarms_count, 'alarm')}:")
    for alarm in found.alarms:
        typer.echo(f"  {alarm['layer']}, {alarm['shard']}: {alarm.get('text') or alarm.get('name')}")
    if found.orphans:
        typer.echo(
            f"{_many(found.orphans, 'file')} of a stopped or slower worker, which nobody reads; "
            "--clear removes those a day old"
        )
    if found.drafts:
        typer.echo(f"{_many(found.drafts, 'file')} half written, by a worker at work or one that was killed")
    for what, where in found.files.items():
        typer.echo(f"{what:<12}{where}")


def _say_pace(pace: "Pace") -> None:
    eta = ""
    if pace.eta_s is not None:
        eta = f"; {clock_time(pace.eta_s)} left"
        if pace.eta_range_s is not None:
            eta += f" ({' to '.join(map(clock_time, pace.eta_range_s))})"
    typer.echo(f"last hour: {pace.samples_per_second:.2f} samples/s, {_many(pace.workers, 'worker')}{eta}")
    for slow in pace.slow:
        typer.echo(
            f"  slow: {slow.worker}, {slow.images_per_second:.2f} images/s where {slow.median:.2f} is the middle"
        )


def _say_member(member: "MemberStatus", shards: int, job: str) -> None:
    counts = member.counts
    left = [f"{member.left:,} samples"] if member.left else []
    left += [f"{_many(member.unknown_shards, 'shard')} of unknown size"] if member.unknown_shards else []
    typer.secho(f"{member.name}", bold=True, nl=False)
    typer.echo(f"  {member.shards_done:,} of {_many(shards, 'shard')}, {' and '.join(left) or 'nothing'} left")
    if job == "reinforce":
        typer.echo(f"  {counts.read:,} read = {counts.captioned:,} reinforced + {counts.quarantined:,} left out\n")
        return
    typer.echo(
        f"  {counts.read:,} read = {counts.captioned:,} captioned + {counts.filtered:,} filtered "
        f"+ {counts.quarantined:,} quarantined"
    )
    kept = f"{member.kept:,} kept" if member.kept is not None else "kept: unknown, see `captioners verify`"
    typer.echo(f"  {counts.rows:,} captions, {kept}")
    if member.flags:
        typer.echo(f"  flags: {', '.join(f'{flag} {count:,}' for flag, count in member.flags.items())}")
    typer.echo()


def _say_errors(given: str) -> None:
    from captioners.core.run_dir import open_run
    from captioners.core.worker_log import last_errors

    run = open_run(given)
    found = last_errors(run.place)
    for line in reversed(found):
        typer.echo(f"{line.time} {line.worker}: {line.text}")
    done(None) if found else typer.echo(f"no worker of {run.url} has logged an error")


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
