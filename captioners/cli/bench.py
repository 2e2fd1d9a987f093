"""`captioners bench`: measure this machine."""

from pathlib import Path
from typing import Annotated

import typer

from captioners.cli.ending import done

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def _bench() -> None:
    """Measure decoding, training and reading pictures on this machine."""


@app.command()
def decode(
    size: Annotated[str, typer.Option(help="The model's size: L-14 or B-32, with random weights.")] = "L-14",
    cases: Annotated[
        str | None,
        typer.Option(
            help="Some of draws-20, draws-77, beams-20, users-20, draws-255, with commas.", show_default="all"
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of every case.", show_default="2, then 1")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of both sides.", show_default="torch's")] = None,
    full: Annotated[bool, typer.Option("--full", help="Measure what is otherwise estimated; takes an hour.")] = False,
    peer: Annotated[Path, typer.Option(help="The environment that 'make peer' made.")] = Path(".peer-venv"),
    alone: Annotated[bool, typer.Option("--alone", help="Measure our engine without the peer.")] = False,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/bench-decode-TIME")] = None,
) -> None:
    """Compare our engine with open_clip's generate in one run, in turns, on random weights.

    All cases take some twelve minutes on two quiet cores; ask for quiet, for others' work spoils what is measured.
    It prints every round, how both outputs agree, what exact mode costs and how far the machine's floor is.
    """
    from captioners.jobs.bench.cases import chosen
    from captioners.jobs.bench.decode import CASES, BenchOptions, bench_decode
    from captioners.jobs.bench.report import text

    options = BenchOptions(
        size=size,
        cases=chosen(CASES, cases),
        rounds=rounds,
        threads=threads,
        full=full,
        peer=None if alone else peer,
        out=out,
    )
    report, run = bench_decode(options, typer.echo)
    typer.echo(f"\n{text(report)}")
    done(run, "captioners bench decode --full --rounds 3", "captioners bench decode --size B-32")


@app.command()
def generate(
    size: Annotated[str, typer.Option(help="L-14, B-32 or tiny with random weights; or a captioner.")] = "L-14",
    images: Annotated[int | None, typer.Option(min=1, help="Images.", show_default="by size")] = None,
    draws: Annotated[int, typer.Option("-n", min=1, help="Captions of each image.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, after one that warms up.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/bench-generate-TIME")] = None,
) -> None:
    """Compare the whole of generate (tars, decoding, rules, storing) with its engine alone, in turns.

    Both get the same images and must write the same captions. Ask for quiet: others' work spoils what is measured.
    """
    from captioners.jobs.bench.generate import BenchGenerateOptions, bench_generate

    options = BenchGenerateOptions(size=size, images=images, draws=draws, rounds=rounds, out=out)
    report, run = bench_generate(options, typer.echo)
    typer.echo("\n" + "\n".join(report.lines()))
    done(run, "captioners bench generate --size tiny")


@app.command("io")
def io_(
    images: Annotated[int, typer.Option(min=1, help="Pictures a round.")] = 120,
    side: Annotated[int, typer.Option(min=16, help="Pixels of the files' sides.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/bench-io-TIME")] = None,
) -> None:
    """Compare how fast one core decodes, resizes and normalises JPEGs with Pillow and torchvision, in turns.

    Our profiles `upright` (pixel for pixel the same) and `fast` (a grey level off here and there).
    """
    from captioners.jobs.bench.io import BenchIoOptions, bench_io

    report, run = bench_io(BenchIoOptions(images=images, side=side, rounds=rounds, out=out), typer.echo)
    typer.echo("\n" + "\n".join(report.lines()))
    done(run, "captioners bench io --rounds 9")


@app.command()
def ensemble(
    size: Annotated[str, typer.Option(help="L-14, B-32 or tiny, with random weights.")] = "L-14",
    voices: Annotated[int, typer.Option(min=2, help="Captioners with one image tower.")] = 4,
    images: Annotated[int | None, typer.Option(min=1, help="Images.", show_default="by size")] = None,
    draws: Annotated[int, typer.Option("-n", min=1, help="Captions of each image by each voice.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/bench-ensemble-TIME")] = None,
) -> None:
    """Compare voices that share a frozen image tower, in one pass, with one voice and with one after the other.

    All must write the same captions. L-14 takes 8 GB of memory for four voices.
    """
    from captioners.jobs.bench.ensemble import BenchEnsembleOptions, bench_ensemble

    options = BenchEnsembleOptions(size=size, voices=voices, images=images, draws=draws, rounds=rounds, out=out)
    report, run = bench_ensemble(options, typer.echo)
    typer.echo("\n" + "\n".join(report.lines()))
    done(run, "captioners bench ensemble --size B-32")


@app.command()
def reinforce(
    size: Annotated[str, typer.Option(help="Of both teachers: L-14, B-32 or tiny, with random weights.")] = "B-32",
    images: Annotated[int | None, typer.Option(min=1, help="Pictures.", show_default="by size")] = None,
    augmentations: Annotated[int, typer.Option(min=1, help="Of each picture.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, after one that warms up.")] = 3,
    threads: Annotated[
        int | None, typer.Option(min=1, help="That decode, augment and pack.", show_default="torch's")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/bench-reinforce-TIME")] = None,
) -> None:
    """Compare the whole of reinforce (tars, decoding, augmenting, packing) with its teachers alone, in turns.

    Tiny teachers show the rate that augmentation allows. Ask for quiet: others' work spoils what is measured.
    """
    from captioners.jobs.bench.reinforce import BenchReinforceOptions, bench_reinforce

    options = BenchReinforceOptions(
        size=size, images=images, augmentations=augmentations, rounds=rounds, threads=threads, out=out
    )
    report, run = bench_reinforce(options, typer.echo)
    typer.echo("\n" + "\n".join(report.lines()))
    done(run, "captioners bench reinforce --size tiny")


@app.command()
def memory(
    megabytes: Annotated[int, typer.Option(min=10, help="Of the large shard, and of the many together.")] = 1000,
    shards: Annotated[int, typer.Option(min=2, help="How many are many.")] = 200,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/bench-memory-TIME")] = None,
) -> None:
    """Measure that generate's peak memory grows neither with the size of a shard nor with the number of shards."""
    from captioners.jobs.bench.memory import BenchMemoryOptions, bench_memory

    options = BenchMemoryOptions(megabytes=megabytes, shards=shards, out=out)
    report, run = bench_memory(options, typer.echo)
    typer.echo("\n" + "\n".join(report.lines()))
    done(run, "captioners bench generate --size tiny")


@app.command()
def measure(
    images: Annotated[int, typer.Option(min=1, help="Images of the set that is made up.")] = 100_000,
    draws: Annotated[int, typer.Option("-n", min=1, help="Captions of each image.")] = 5,
    references: Annotated[int, typer.Option(min=0, help="Reference captions of each image.")] = 5,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each of one thread.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/bench-measure-TIME")] = None,
) -> None:
    """Measure how fast captions are measured by the default metrics that need no model, and with how much memory."""
    from captioners.jobs.bench.measure import BenchMeasureOptions, bench_measure

    options = BenchMeasureOptions(images=images, m=draws, references=references, workers=workers, out=out)
    report, run = bench_measure(options, typer.echo)
    typer.echo("\n" + "\n".join(report.lines()))
    done(run, "captioners bench measure --images 1000000")


@app.command()
def train(
    cases: Annotated[
        str | None,
        typer.Option(
            help="Some of b32-76, b32-254, b32-step, b32-frozen, l14-76, l14-254, l14-step, l14-frozen, l14-captions, "
            "with commas.",
            show_default="all",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of every case.")] = 3,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of both sides.", show_default="torch's")] = None,
    memory: Annotated[bool, typer.Option(help="Measure peak memory, too.")] = True,
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/bench-train-TIME")] = None,
) -> None:
    """Compare our training step with open_clip's model and loss in one run, in turns, on random weights.

    The optimizer is the same on both sides. L-14 takes 13 GB of memory. Ask for quiet: others' work spoils what is
    measured.
    """
    from captioners.jobs.bench.cases import chosen
    from captioners.jobs.bench.train import CASES, BenchTrainOptions, bench_train
    from captioners.jobs.bench.train_report import text

    options = BenchTrainOptions(cases=chosen(CASES, cases), rounds=rounds, threads=threads, memory=memory, out=out)
    report, run = bench_train(options, typer.echo)
    typer.echo(f"\n{text(report)}")
    done(run, "captioners bench train --cases b32-76,b32-254 --rounds 5")
