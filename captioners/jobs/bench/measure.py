"""Measure how fast captions are measured: the default metrics that need no model, over a set that is made up.

Each process makes its shards up (which is not timed), measures them and writes its sums; then the sums of all are
merged, as in a run of many shards.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from captioners.core.errors import CaptionersError, UserError
from captioners.jobs.bench.measure_worker import SHARD, Measured, Part, made_up, peak_memory
from captioners.jobs.bench.report import environment
from captioners.metrics.across_set import AcrossSet
from captioners.metrics.frequencies import IMAGES, fit
from captioners.metrics.references import BLEU_4, bleu
from captioners.metrics.streaming import Sums

GOAL_IMAGES, GOAL_SECONDS, GOAL_BYTES = 1_000_000, 600.0, 4 * 10**9
"""A million images in ten minutes and 4 GB, on two cores."""
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[2:]; from captioners.jobs.bench.measure_worker import main; main(sys.argv[1])"
)


@dataclass(frozen=True, kw_only=True)
class BenchMeasureOptions:
    """What to measure."""

    images: int = 100_000
    m: int = 5
    """Captions of each image."""
    references: int = 5
    """Of each image; 0: none."""
    workers: int = 2
    """Processes, each of one thread."""
    out: Path | None = None


@dataclass
class MeasureReport:
    """What it took."""

    images: int
    m: int
    references: int
    environment: dict[str, Any]
    fitting: float = 0.0
    """Seconds of fitting the table of document frequencies, once."""
    merging: float = 0.0
    """Seconds of merging the sums of all processes and reading the values off."""
    merging_peak: int = 0
    """Bytes of the process that merges, at most; it starts when the others have ended."""
    parts: list[Measured] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    """Of the made-up set, to be held against those of another number of processes: they are the same."""

    @property
    def seconds(self) -> float:
        """Seconds of the slowest process and what comes before and after; making captions up is left out."""
        return self.fitting + max(part.seconds for part in self.parts) + self.merging

    @property
    def peak(self) -> int:
        """Bytes of all processes that measure, each at its peak, or of the one that merges, whichever is more."""
        return max(self.merging_peak, sum(part.peak for part in self.parts))

    def lines(self) -> list[str]:
        """Return what people read."""
        parts = self.parts
        busy = sum(part.processor for part in parts)
        asked = ", ".join(
            f"{name} {1e6 * sum(getattr(part, name) for part in parts) / self.images:.0f} us"
            for name in ("within", "across", "references")
        )
        processes = f"{len(parts)} process{'es' * (len(parts) > 1)} of one thread"
        lines = [
            f"{self.images:,} images x {self.m} captions ({sum(p.words for p in parts):,} words), {self.references} "
            f"references each, {processes}",
            f"{self.seconds:.1f} s: {self.images / self.seconds:,.0f} images/s (table {self.fitting:.1f} s, slowest "
            f"process {max(p.seconds for p in parts):.1f} s, merging {self.merging:.1f} s)",
            f"an image by metrics of its captions, of the set and against references: {asked}; processor time "
            f"{1e6 * busy / self.images:.0f} us",
            f"peak memory {self.peak / 1e6:,.0f} MB: {', '.join(f'{p.peak / 1e6:,.0f}' for p in parts)} MB measuring, "
            f"{self.merging_peak / 1e6:,.0f} MB merging, with all that is imported",
        ]
        if self.images < GOAL_IMAGES:
            more, rest = GOAL_IMAGES / self.images, self.fitting + self.merging
            steady = (more * max(part.seconds for part in parts) + rest) / 60
            quiet = (more * max(part.processor for part in parts) + rest) / 60
            lines.append(
                f"{GOAL_IMAGES:,} images would take {steady:.1f} minutes if the rate stays, {quiet:.1f} by processor "
                f"time (a core a process): computed, not measured; --images {GOAL_IMAGES} measures it, and its memory"
            )
        return lines


def bench_measure(options: BenchMeasureOptions, say: Callable[[str], None]) -> tuple[MeasureReport, Path]:
    """Run it and return the report and its run directory.

    Raises:
        UserError: the system does not say a process's peak.
    """
    if not sys.platform.startswith("linux"):
        raise UserError("bench measure reads peaks as Linux tells them; run it there")
    folder = options.out or Path("runs") / time.strftime("bench-measure-%Y%m%d-%H%M%S")
    folder.mkdir(parents=True, exist_ok=True)
    report = MeasureReport(options.images, options.m, options.references, environment(1))
    report.fitting = _fit(options, folder)
    say(f"table of document frequencies: {report.fitting:.1f} s")
    processes = [_start(options, folder, rank) for rank in range(options.workers)]
    report.parts = [_answer(process) for process in processes]
    say(f"slowest process: {max(part.seconds for part in report.parts):.1f} s")
    began = time.perf_counter()
    report.values = _merged(report, folder)
    report.merging = time.perf_counter() - began
    report.merging_peak = peak_memory()
    found = {**asdict(report), "seconds": report.seconds, "peak": report.peak}
    (folder / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    return report, folder


def _fit(options: BenchMeasureOptions, folder: Path) -> float:
    pairs: list[tuple[str, list[str]]] = []
    for start in range(0, min(options.images, IMAGES), SHARD):
        texts = made_up(start, min(SHARD, options.images - start), options.m + options.references)
        # Of the references; where there are none, of the captions.
        first = options.m if options.references else 0
        pairs += [(f"{start + place:09d}", of_image[first:]) for place, of_image in enumerate(texts)]
    began = time.perf_counter()
    (folder / "frequencies.npz").write_bytes(fit(pairs).to_bytes())
    return time.perf_counter() - began


def _start(options: BenchMeasureOptions, folder: Path, rank: int) -> "subprocess.Popen[str]":
    part = Part(
        folder=str(folder.resolve()),
        rank=rank,
        workers=options.workers,
        images=options.images,
        m=options.m,
        references=options.references,
    )
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(  # noqa: S603  # ourselves
        [sys.executable, "-c", _PROGRAM, json.dumps(asdict(part)), *sys.path],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | threads,
    )


def _answer(process: "subprocess.Popen[str]") -> Measured:
    said, _ = process.communicate()
    if process.returncode:
        raise CaptionersError(f"a process of the bench ended with {process.returncode}")
    return Measured(**json.loads(said.splitlines()[-1]))


def _merged(report: MeasureReport, folder: Path) -> dict[str, float]:
    sums, across = Sums(), AcrossSet(report.m)
    for rank in range(len(report.parts)):
        sums.merge(Sums.from_bytes((folder / f"sums-{rank}.npz").read_bytes()))
        across.merge(AcrossSet.from_bytes((folder / f"across-{rank}.npz").read_bytes()))
    values = {name: sums.mean(name) for name in sums.names()}
    values |= {metric.name: value for metric, value in across.values().items()}
    if report.references:
        counts = np.sum([part.bleu for part in report.parts], axis=0).astype(np.float64)
        values[BLEU_4.name] = float(bleu(counts))
    return values
