"""Measure how fast one core brings JPEGs to a captioner's input: ours in both upright profiles, and the usual way.

The usual way is Pillow and torchvision, as open_clip's evaluation transform does. All sides get the same files in turns
and end with the same normalised tensor, whose pixels are compared.
"""

import io
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from captioners.core.package_data import SAMPLES
from captioners.images.decode import MAX_PIXELS, AnyProfile
from captioners.images.fast import picture_of
from captioners.images.preprocess import Preprocess
from captioners.jobs.bench.report import environment

if TYPE_CHECKING:
    from torch import Tensor

SIDES = ("usual", "upright", "fast")
WANTED_ERROR = 0.001
"""Mean difference of a pixel from the usual way's, in normalised units, that a faster way may have."""


@dataclass(frozen=True, kw_only=True)
class BenchIoOptions:
    """What to measure."""

    images: int = 120
    side: int = 512
    """Pixels of the files' sides."""
    size: int = 224
    """Pixels of the captioner's input."""
    rounds: int = 5
    out: Path | None = None


@dataclass
class IoReport:
    """Seconds a picture of each side in each round, and how far its pixels are from the usual way's."""

    options: dict[str, Any]
    environment: dict[str, Any]
    rounds: list[dict[str, float]] = field(default_factory=list)
    """Processor seconds of this one thread, which others' work on the machine does not count in."""
    mean_error: dict[str, float] = field(default_factory=dict)
    """Side -> mean over all pixels of all pictures, normalised units."""
    most_error: dict[str, float] = field(default_factory=dict)

    def rate(self, side: str) -> float:
        """Return pictures a second, the median over rounds."""
        return 1 / statistics.median(seconds[side] for seconds in self.rounds)

    def ratio(self, side: str) -> float:
        """Return how many times the usual way's rate, the median over rounds."""
        return statistics.median(seconds["usual"] / seconds[side] for seconds in self.rounds)

    def lines(self) -> list[str]:
        """Return what people read."""
        side, size = self.options["side"], self.options["size"]
        said = [
            f"JPEG {side} x {side} to {size} x {size}, one core, {len(self.rounds)} rounds in turns",
            f"{'side':<10}{'images/s':>9}{'ratio':>8}   mean, largest difference of a pixel (normalised units)",
        ]
        for name in SIDES:
            errors = f"{self.mean_error[name]:.6f}, {self.most_error[name]:.4f}"
            said.append(f"{name:<10}{self.rate(name):>9.0f}{self.ratio(name):>7.2f}x   {errors}")
        return said


def bench_io(options: BenchIoOptions, say: Callable[[str], None]) -> tuple[IoReport, Path]:
    """Run the rounds, telling each, and return the report and its run directory."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    files = photos(options.side)
    report = IoReport(asdict(options) | {"out": None}, environment(1))
    sides = _sides(options.size)
    for side in SIDES:
        errors = torch.stack([(sides[side](data) - sides["usual"](data)).abs() for data in files])
        report.mean_error[side], report.most_error[side] = float(errors.mean()), float(errors.max())
    for number in range(options.rounds):
        seconds = {}
        for side in SIDES[number % len(SIDES) :] + SIDES[: number % len(SIDES)]:
            start = time.process_time()
            for image in range(options.images):
                sides[side](files[image % len(files)])
            seconds[side] = (time.process_time() - start) / options.images
        report.rounds.append(seconds)
        say(f"round {number + 1}: " + ", ".join(f"{side} {1 / seconds[side]:.0f}/s" for side in SIDES))
    torch.set_num_threads(threads)
    folder = options.out or Path("runs") / time.strftime("bench-io-%Y%m%d-%H%M%S")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    return report, folder


def photos(side: int) -> list[bytes]:
    """Return the packaged photos as JPEGs of `side` x `side` px, quality 90."""
    found = []
    for path in sorted(SAMPLES.glob("*.jpg")):
        with Image.open(path) as photo:
            scale = side / min(photo.size)
            sizes = [max(side, round(length * scale)) for length in photo.size]
            image = photo.convert("RGB").resize((sizes[0], sizes[1]), Image.Resampling.BICUBIC).crop((0, 0, side, side))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


def _sides(size: int) -> "dict[str, Callable[[bytes], Tensor]]":
    from open_clip.transform import image_transform

    usual = image_transform(size, is_train=False)
    preprocess = Preprocess({"size": size})

    def ours(profile: AnyProfile) -> "Callable[[bytes], Tensor]":
        return lambda data: preprocess(picture_of(data, profile, MAX_PIXELS, "", preprocess.fit).image)

    return {
        "usual": lambda data: usual(Image.open(io.BytesIO(data))),
        "upright": ours("upright"),
        "fast": ours("fast"),
    }
