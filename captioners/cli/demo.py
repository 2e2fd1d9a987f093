"""`captioners demo`: the whole loop, on this machine, in minutes."""

from pathlib import Path
from typing import Annotated

import typer

from captioners.cli.ending import done
from captioners.core.progress import Display


def command(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The demo's folder.", show_default="runs/demo")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Pretrain the captioner, too; which alone takes about an hour.")
    ] = False,
    voices: Annotated[
        str,
        typer.Option("--voices", help="Fine-tune these: short, detailed, relational, count, paraphrased; or all."),
    ] = "short,detailed",
) -> None:
    """Draw a world, fine-tune the packaged captioner on two voices, caption held-out scenes, measure, write a page.

    No GPU, no network, a few minutes. Stopped, the same command goes on; finished, it writes the page anew.
    More voices can be asked for later; each takes minutes, and voices.md has what each has gained.
    """
    from captioners.jobs.demo.job import NOTICE, DemoOptions, demo, voices_of

    chosen = voices_of(voices)
    folder = output or Path("runs/demo-from-scratch" if from_scratch else "runs/demo")
    typer.echo(f"the whole loop on the drawn world, into {folder} ({NOTICE})")
    if from_scratch:
        typer.echo("--from-scratch pretrains a captioner first, which takes about an hour on two cores")
    with Display() as display:
        found = demo(DemoOptions(out=folder, from_scratch=from_scratch, voices=chosen), typer.echo, display)
    typer.echo()
    for line in found.findings:
        typer.echo(line)
    typer.echo(f"before and after, voice by voice: {found.table}")
    wall, cpu = sum(step.wall for step in found.steps), sum(step.cpu for step in found.steps)
    typer.echo(f"{wall:,.0f} s in all ({cpu:,.0f} s of CPU time)")
    done(found.page, f"captioners show {folder / 'captions'} 00000007", "captioners caption YOUR_PHOTO.jpg")
