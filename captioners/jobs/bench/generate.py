"""Measure what `generate` costs beside its captioner: the same images, engine alone and whole job, in turns.

The engine alone gets pictures that are decoded and fitted beforehand. The whole job reads tar shards, decodes in a
process of its own, looks at each caption, and stores rows and ledger entries. Both start with the captioner open, and
must write the same captions.
"""

import io
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from captioners.core.errors import NeedsLookError, UserError, near
from captioners.core.package_data import SAMPLES
from captioners.core.run_dir import RunDir
from captioners.core.seeds import Stream
from captioners.data.tar import TarWriter
from captioners.data.webdataset_source import WebdatasetOptions
from captioners.decoding.values import Sample
from captioners.images.decode import read_image
from captioners.jobs.bench.report import environment
from captioners.jobs.generate.loading import load
from captioners.jobs.generate.setup import layer_of
from captioners.jobs.generate.worker import Pass, Setting, Task
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.kinds.captioner import Request
from captioners.kinds.coca import CocaCaptioner
from captioners.text.flags import Rules

SIZES = {"L-14": "random-l14", "B-32": "random-b32", "tiny": "random-tiny"}
_IMAGES = {"L-14": 24, "B-32": 128, "tiny": 600}
_SHARD = 200
"""Images of a shard."""
_SIDE = 384
"""Pixels of the pictures' sides."""


@dataclass(frozen=True, kw_only=True)
class BenchGenerateOptions:
    """What to measure."""

    size: str = "L-14"
    """One of `SIZES`, or a captioner's name."""
    images: int | None = None
    draws: int = 5
    tokens: int = 20
    """Content tokens of a caption, at most."""
    rounds: int = 3
    out: Path | None = None


@dataclass
class GenerateReport:
    """Seconds of both sides in each round."""

    captioner: str
    images: int
    draws: int
    environment: dict[str, Any]
    rounds: list[tuple[float, float]] = field(default_factory=list)
    """(engine alone, whole job)."""
    seconds: dict[str, float] = field(default_factory=dict)
    """The whole job's, by activity, summed over rounds."""

    @property
    def ratio(self) -> float:
        """The whole job's time over the engine's, the median over rounds."""
        return statistics.median(whole / alone for alone, whole in self.rounds)

    def lines(self) -> list[str]:
        """Return what people read."""
        rates = [statistics.median(self.images / pair[side] for pair in self.rounds) for side in (0, 1)]
        spent = sum(self.seconds.values()) or 1.0
        shares = ", ".join(f"{name} {part / spent:.1%}" for name, part in sorted(self.seconds.items()))
        return [
            f"{self.captioner}: {self.images} images x {self.draws} draws, {len(self.rounds)} rounds in turns",
            f"engine alone {rates[0]:.2f} images/s, whole job {rates[1]:.2f} images/s",
            f"the whole job takes {self.ratio:.3f} x the engine's time ({1 / self.ratio:.1%} of its rate); {shares}",
        ]


def bench_generate(options: BenchGenerateOptions, say: Callable[[str], None]) -> tuple[GenerateReport, Path]:
    """Run the rounds, telling each, and return the report and its run directory.

    Raises:
        UserError: no such size. NeedsLookError: the two sides wrote different captions.
    """
    import torch

    if options.size not in SIZES and options.size.startswith(("L-", "B-", "ti")):
        raise UserError(f"no size is named '{options.size}'.{near(options.size, SIZES)} Known: {', '.join(SIZES)}")
    captioner_name = SIZES.get(options.size, options.size)
    count = options.images or _IMAGES.get(options.size, 128)
    folder = options.out or Path("runs") / time.strftime("bench-generate-%Y%m%d-%H%M%S")
    write_shards(folder / "shards", count)
    # Random weights have no nucleus: 90 % of their mass is most of the vocabulary, and sorting it would take all time.
    how = {"top_k": 50} if captioner_name in SIZES.values() else {"top_p": 0.9}
    decoding = Sample.model_validate({**how, "max_tokens": options.tokens, "min_tokens": min(5, options.tokens)})
    recipe = GenerateRecipe(
        source=WebdatasetOptions(inputs=[str(folder / "shards")]),
        members=[Member(captioner=captioner_name, draws=options.draws, decoding=decoding)],
        rules=Rules(retries=0),  # a draw made again would be work that the engine alone does not have
    )
    captioner = load(recipe.members[0], recipe)
    assert isinstance(captioner, CocaCaptioner)
    captioner.open()
    requests = list(_requests(recipe, captioner))
    report = GenerateReport(captioner_name, count, options.draws, environment(torch.get_num_threads()))
    for number in range(options.rounds + 1):
        alone, said = _alone(captioner, requests)
        whole, stored, seconds = _whole(recipe, captioner, folder / f"run-{number}")
        if said != stored:
            raise NeedsLookError(f"engine and job wrote different captions; see {folder}")
        if not number:
            continue  # both sides warm up
        report.rounds.append((alone, whole))
        for name, spent in seconds.items():
            report.seconds[name] = report.seconds.get(name, 0.0) + spent
        say(f"round {number}: engine {alone:.2f} s, job {whole:.2f} s, {whole / alone:.3f} x")
    shutil.rmtree(folder / "shards")
    (folder / "bench.json").write_text(json.dumps({**asdict(report), "ratio": report.ratio}, indent=1) + "\n")
    return report, folder


def write_shards(folder: Path, count: int) -> None:
    """Write tar shards of `count` different photos: random crops of the packaged ones."""
    generator = np.random.Generator(np.random.PCG64(0))
    photos = [read_image(path).image for path in sorted(SAMPLES.glob("*.jpg"))]
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, count, _SHARD):
        with TarWriter(folder / f"{start // _SHARD:05d}.tar") as tar:
            for number in range(start, min(start + _SHARD, count)):
                photo = photos[number % len(photos)]
                left, top = (int(generator.integers(0, side // 4)) for side in photo.size)
                crop = photo.crop((left, top, photo.width, photo.height)).resize(
                    (_SIDE, _SIDE), Image.Resampling.BICUBIC
                )
                file = io.BytesIO()
                crop.save(file, "JPEG", quality=90)
                tar.add(f"{number:06d}", {"jpg": file.getvalue()})


def _requests(recipe: GenerateRecipe, captioner: CocaCaptioner) -> Iterator[Request]:
    source, (member,) = recipe.source.open(), recipe.members
    samples = (sample for shard in source.shards() for sample in source.samples(shard))
    for index, sample in enumerate(samples):
        picture = read_image(sample.image)  # type: ignore[union-attr]
        yield Request(
            index=index,
            image=captioner.preprocess.fit(picture.image),
            stream=Stream(recipe.seed, picture.sha256, member.called),
            draws=member.draws,
            decoding=member.decoding,
        )


def _alone(captioner: CocaCaptioner, requests: list[Request]) -> tuple[float, dict[tuple[str, int], str]]:
    start = time.perf_counter()
    results = list(captioner.caption(requests))
    seconds = time.perf_counter() - start
    return seconds, {(requests[r.index].stream.image_sha256, r.draw): r.text for r in results}


def _whole(
    recipe: GenerateRecipe, captioner: CocaCaptioner, folder: Path
) -> tuple[float, dict[tuple[str, int], str], dict[str, float]]:
    layer = layer_of(recipe, recipe.members[0], captioner)
    shards = recipe.source.open().shards()
    setting = Setting(
        recipe=recipe, run=str(folder), unit_samples=recipe.unit_samples, layers={layer.name: layer}, passes=[(0,)]
    )
    told: list[Any] = []
    start = time.perf_counter()
    Pass(setting, 0, [captioner], told.append).run(iter([Task(0, shard) for shard in shards]), lambda _: None)
    seconds = time.perf_counter() - start
    run = RunDir(folder)
    rows = [row for entry in run.ledger.entries() for row in run.rows(entry).to_pylist()]
    spent: dict[str, float] = {}
    for tally in told:
        for name, part in getattr(tally, "seconds", {}).items():
            spent[name] = spent.get(name, 0.0) + part
    shutil.rmtree(folder)
    return seconds, {(row["image_sha256"], row["draw"]): row["text"] for row in rows}, spent
