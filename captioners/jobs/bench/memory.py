"""Measure whether the memory of `generate` grows with the size of a shard or with the number of shards: it must not.

Each case is a whole run in a process of its own, with the smallest captioner, over tars of noise that cannot be
compressed. Peaks are the kernel's (VmHWM): of the process itself and of its largest decode process.
"""

import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from captioners.core.errors import NeedsLookError, UserError
from captioners.data.tar import TarWriter

MOST_GROWTH = 64 * 10**6
"""Bytes that a peak may be above the small run's: what a heap differs by from run to run."""
_SIDE = 512
_MB = 10**6
_PROGRAM = (
    "import resource, sys; from captioners.cli.main import run; code = run(sys.argv[1:]); "
    "peaks = [1024 * resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]; "
    "print(code, *peaks)"
)


@dataclass(frozen=True, kw_only=True)
class BenchMemoryOptions:
    """What to measure."""

    megabytes: int = 1000
    """Of the large shard, and of all the many shards together."""
    shards: int = 200
    small_megabytes: int = 100
    """Of the run that the others are held against."""
    out: Path | None = None


@dataclass(frozen=True)
class Peak:
    """One case: bytes of its shards, and its peaks."""

    name: str
    shards: int
    size: int
    own: int
    decoder: int

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.shards:,} shards, {self.size / _MB:,.0f} MB: peak {self.own / _MB:,.0f} MB, "
            f"of a decode process {self.decoder / _MB:,.0f} MB"
        )


@dataclass
class MemoryReport:
    """The cases, the small one first."""

    peaks: list[Peak] = field(default_factory=list)

    @property
    def growth(self) -> int:
        """Bytes by which the worst peak of a process is above the small run's."""
        first, *others = self.peaks
        return max(max(peak.own - first.own, peak.decoder - first.decoder) for peak in others)

    def lines(self) -> list[str]:
        """Return what people read."""
        return [*map(str, self.peaks), f"growth: {self.growth / _MB:+,.0f} MB (at most {MOST_GROWTH / _MB:.0f} MB)"]


def bench_memory(options: BenchMemoryOptions, say: Callable[[str], None]) -> tuple[MemoryReport, Path]:
    """Run the cases, telling each, and return the report and its run directory.

    Raises:
        UserError: the system does not say a process's peak. NeedsLookError: memory grows.
    """
    if not sys.platform.startswith("linux"):
        raise UserError("bench memory reads peaks as Linux tells them; run it there")
    folder = options.out or Path("runs") / time.strftime("bench-memory-%Y%m%d-%H%M%S")
    report = MemoryReport()
    for name, shards, megabytes in (
        ("small", 1, options.small_megabytes),
        ("one large shard", 1, options.megabytes),
        ("many shards", options.shards, options.megabytes),
    ):
        report.peaks.append(_case(name, shards, megabytes * _MB, folder / "case"))
        say(str(report.peaks[-1]))
    (folder / "bench.json").write_text(json.dumps({**asdict(report), "growth": report.growth}, indent=1) + "\n")
    if report.growth > MOST_GROWTH:
        raise NeedsLookError(f"memory grows with the data: {report.lines()[-1]}; see {folder / 'bench.json'}")
    return report, folder


def _case(name: str, shards: int, size: int, folder: Path) -> Peak:
    files = write_noise(folder / "shards", shards, size)
    arguments = ["generate", str(folder / "shards"), "-c", "random-tiny", "-n", "1", "-o", str(folder / "run")]
    arguments += ["-d", "{top_k: 5, max_tokens: 4, min_tokens: 0}", "queue_mb=32", "decode_workers=1"]
    ended = subprocess.run(  # noqa: S603  # this very Python
        [sys.executable, "-c", _PROGRAM, *arguments], check=True, capture_output=True, text=True
    )
    code, own, decoder = map(int, ended.stdout.split()[-3:])
    if code not in (0, 2):  # 2: alarms, for all pictures are the same one
        raise NeedsLookError(f"{name}: generate ended with {code}: {ended.stderr.strip().splitlines()[-1]}")
    written = sum(file.stat().st_size for file in files)
    shutil.rmtree(folder)
    return Peak(name, shards, written, own, decoder)


def write_noise(folder: Path, shards: int, size: int) -> list[Path]:
    """Write tars of some `size` bytes together, whose samples are one picture of noise under different keys."""
    pixels = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
    picture = io.BytesIO()
    Image.fromarray(pixels).save(picture, "PNG")
    data = picture.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:05d}.tar" for number in range(shards)]
    for file in files:
        with TarWriter(file) as tar:
            for number in range(max(1, size // shards // len(data))):
                tar.add(f"{number:06d}", {"png": data})
    return files
