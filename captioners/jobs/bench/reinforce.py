"""Measure what `reinforce` costs beside its teachers: the same crops and captions, teachers alone and the whole job.

The teachers alone get pixels and tokens made beforehand, in the job's own batches. The whole job reads tar shards,
decodes, augments, embeds, packs and stores. With tiny teachers it is bound by augmentation, whose rate a core is told.
"""

import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from captioners.core.errors import UserError, near
from captioners.core.progress import Clock
from captioners.data.raw_samples import RawSample, raw_samples
from captioners.data.tar import TarWriter
from captioners.data.webdataset_source import WebdatasetOptions
from captioners.jobs.bench.io import photos
from captioners.jobs.bench.report import environment
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce import samples
from captioners.jobs.reinforce.loading import load
from captioners.jobs.reinforce.samples import Prepared
from captioners.jobs.reinforce.stream import Reinforced, ShardStream
from captioners.reinforcement.teacher_options import TeacherOptions
from captioners.reinforcement.teachers import Ensemble

SIZES = {"L-14": "ViT-L-14", "B-32": "ViT-B-32", "tiny": "tiny-224"}
_IMAGES = {"L-14": 4, "B-32": 48, "tiny": 200}
_SIDE = 384
"""Pixels of the pictures' sides."""
_CAPTIONS = 5


@dataclass(frozen=True, kw_only=True)
class BenchReinforceOptions:
    """What to measure."""

    size: str = "B-32"
    """Of both teachers, one of `SIZES`."""
    images: int | None = None
    augmentations: int = 10
    rounds: int = 3
    threads: int | None = None
    """That decode, augment and pack."""
    out: Path | None = None


@dataclass
class ReinforceReport:
    """Seconds of both sides in each round."""

    size: str
    images: int
    augmentations: int
    environment: dict[str, Any]
    rounds: list[tuple[float, float]] = field(default_factory=list)
    """(teachers alone, whole job)."""
    processor: list[tuple[float, float]] = field(default_factory=list)
    """The same in processor seconds of this process, in which others' work on the machine does not count."""
    augmenting: float = 0.0
    """Processor seconds of a crop: its share of reading and decoding, the draw, the replay."""
    seconds: dict[str, float] = field(default_factory=dict)
    """The whole job's, by activity, summed over rounds."""

    @property
    def ratio(self) -> float:
        """The whole job's rate over the teachers' own, the median over rounds."""
        return statistics.median(alone / whole for alone, whole in self.rounds)

    @property
    def processor_ratio(self) -> float:
        """The teachers' own processor time over the whole job's: its rate where it waits for nothing else."""
        return statistics.median(alone / whole for alone, whole in self.processor)

    def lines(self) -> list[str]:
        """Return what people read."""
        rates = [statistics.median(self.images / pair[side] for pair in self.rounds) for side in (0, 1)]
        spent = sum(self.seconds.values()) or 1.0
        shares = ", ".join(f"{name} {part / spent:.1%}" for name, part in sorted(self.seconds.items()))
        crops = rates[1] * self.augmentations
        return [
            f"two teachers {self.size}: {self.images} pictures x {self.augmentations} augmentations and "
            f"{_CAPTIONS + 1} captions, {len(self.rounds)} rounds in turns",
            f"teachers alone {rates[0]:.2f} pictures/s, whole job {rates[1]:.2f} pictures/s ({crops:.1f} crops/s)",
            f"the whole job runs at {self.ratio:.3f} of the teachers' own rate; {shares}",
            f"by processor time, {self.processor_ratio:.3f}",
            f"decoding and augmenting: {1 / self.augmenting:.0f} crops/s a core",
        ]


def bench_reinforce(options: BenchReinforceOptions, say: Callable[[str], None]) -> tuple[ReinforceReport, Path]:
    """Run the rounds, in turns, telling each; return the report and its run directory.

    Raises:
        UserError: no such size.
    """
    if options.size not in SIZES:
        raise UserError(f"no size is named '{options.size}'.{near(options.size, SIZES)} Known: {', '.join(SIZES)}")
    count = options.images or _IMAGES[options.size]
    folder = options.out or Path("runs") / time.strftime("bench-reinforce-%Y%m%d-%H%M%S")
    shard = _write(folder / "shards", count)
    recipe = ReinforceRecipe(
        source=WebdatasetOptions(inputs=[str(folder / "shards")]),
        teachers=[TeacherOptions(name=SIZES[options.size], pretrained="random", seed=seed) for seed in (0, 1)],
        n_aug=options.augmentations,
    )
    ensemble = load(recipe, 16)
    report = ReinforceReport(options.size, count, options.augmentations, environment(_threads(options)))
    began = time.process_time()
    with shard.open("rb") as file:
        ready = [samples.prepare(raw, recipe, ensemble.sizes) for raw in _good(raw_samples(file, shard.name))]
    report.augmenting = (time.process_time() - began) / (count * options.augmentations)
    for number in range(options.rounds + 1):
        marks = [time.process_time()]
        alone = _alone(ensemble, ready)
        marks.append(time.process_time())
        whole, seconds = _whole(recipe, ensemble, shard, folder / "out.tar", _threads(options))
        marks.append(time.process_time())
        if not number:
            continue  # it warms both up
        report.rounds.append((alone, whole))
        report.processor.append((marks[1] - marks[0], marks[2] - marks[1]))
        for name, spent in seconds.items():
            report.seconds[name] = report.seconds.get(name, 0.0) + spent
        say(f"round {number}: teachers alone {alone:.2f} s, whole job {whole:.2f} s: {alone / whole:.3f} of the rate")
    (folder / "bench.json").write_text(
        json.dumps({**asdict(report), "ratio": report.ratio, "processor_ratio": report.processor_ratio}, indent=1)
        + "\n"
    )
    return report, folder


def _threads(options: BenchReinforceOptions) -> int:
    import torch

    return options.threads or torch.get_num_threads()


def _good(found: Any) -> list[RawSample]:
    return [one for one in found if isinstance(one, RawSample)]


def _alone(ensemble: Ensemble, ready: list[Prepared]) -> float:
    """Return the seconds that the teachers take for everything, in one go."""
    sizes = ensemble.sizes
    pixels = {size: np.concatenate([one.crops[size] for one in ready]) for size in sizes}
    texts = [text for one in ready for text in one.texts]
    began = time.perf_counter()
    ensemble.images(pixels)
    ensemble.texts(texts)
    return time.perf_counter() - began


def _whole(
    recipe: ReinforceRecipe, ensemble: Ensemble, shard: Path, out: Path, threads: int
) -> tuple[float, dict[str, float]]:
    """Return the seconds that the job takes, and how they are shared out."""
    clock, began = Clock("writing"), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool, shard.open("rb") as file, TarWriter(out) as tar:
        for one in ShardStream(ensemble, recipe, pool, clock).run(raw_samples(file, shard.name)):
            assert isinstance(one, Reinforced)
            tar.add(one.key, one.members)
    return time.perf_counter() - began, clock.lap()


def _write(folder: Path, count: int) -> Path:
    """Write one captioned shard of photos, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    files, path = photos(_SIDE), folder / "00000.tar"
    captions = [f"a photo of a thing on a table near a window, number {number}" for number in range(_CAPTIONS)]
    with TarWriter(path) as tar:
        for number in range(count):
            data = files[number % len(files)]
            syn = json.dumps({"syn_text": captions}).encode()
            tar.add(f"{number:06d}", {"jpg": data, "txt": b"a photo", "json": b"{}", "syn.json": syn})
    return path
