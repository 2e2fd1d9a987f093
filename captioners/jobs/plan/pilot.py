"""Measure a recipe's captioners on this machine: `generate` itself, over a few of the recipe's images.

Each captioner captions the same pictures in a run of its own below a temporary folder, and its ledger is read as
`plan --from RUN` reads a run's. The engine is filled and emptied within it, so a short measurement is rather slow than
fast. Samples are first taken from where the recipe has them, which says how fast they can be read.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.core.package_data import SAMPLES
from captioners.core.run_dir import RunDir
from captioners.data.source import Sample, all_samples
from captioners.data.tar import TarWriter
from captioners.data.webdataset_source import WebdatasetOptions
from captioners.jobs.generate.job import generate
from captioners.jobs.generate.passes import sharing
from captioners.jobs.plan.calibration import Calibration, Reading, Voice, calibration_of, voices_of
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.metrics import intervals

_ON_CPU, _ON_GPU = 16, 2048
"""Images by default: some seconds of a large captioner on a CPU; enough to keep a GPU's rows filled for a while."""
_UNITS = 8


@dataclass(frozen=True)
class _Taken:
    samples: list[Sample]
    reading: Reading


def measure(recipe: GenerateRecipe, images: int | None, say: Callable[[str], None]) -> Calibration:
    """Return what the recipe's captioners take on this machine, measured on so many images (absent: what suits it).

    Raises:
        UserError, NotFoundError: what `generate` would raise; no picture could be read.
    """
    wanted = images or (_ON_GPU if _on_gpu(recipe.device) else _ON_CPU)
    with tempfile.TemporaryDirectory(prefix="captioners-plan-") as folder:
        taken = _take(recipe, wanted)
        _write(taken.samples, wanted, Path(folder, "shards"))
        voices: list[Voice] = []
        environment: dict[str, str] = {}
        for number, members in enumerate(recipe.groups):
            say(f"measuring {', '.join(member.called for member in members)} on {wanted:,} images")
            small = _small(recipe, Path(folder), number, wanted).model_copy(update={"members": list(members)})
            generate(small, name="plan")
            run = RunDir(str(small.output))
            voices += voices_of(run, small)
            environment = next(iter(run.entries())).environment
    shared = sharing(recipe)
    encodes = tuple(tuple(shared.encodes(number)) for number in range(len(shared.passes)))
    found = calibration_of(voices, environment)
    return found.model_copy(update={"encodes": encodes, "reading": taken.reading})


def _on_gpu(device: str) -> bool:
    from captioners.kinds._device import device_named

    return bool(device_named(device).type == "cuda")


def _small(recipe: GenerateRecipe, folder: Path, number: int, images: int) -> GenerateRecipe:
    """Return the recipe over the few pictures, by one worker, with nothing that ends it early."""
    as_default = ("executor", "workers", "max_shards", "max_hours", "max_cost")
    changed: dict[str, Any] = {name: GenerateRecipe.model_fields[name].default for name in as_default}
    changed |= {
        "source": WebdatasetOptions(inputs=[str(folder / "shards")], image_key="image"),
        "unit_samples": max(1, -(-images // _UNITS)),
        "output": str(folder / f"run-{number}"),
        "quarantine_ceiling": 1.0,
        "canary_units": 0,
    }
    return recipe.model_copy(update=changed)


def _take(recipe: GenerateRecipe, wanted: int) -> _Taken:
    """Take samples from the recipe's source; where it names none, the package's photos, and the reading says so."""
    packaged = getattr(recipe.source, "inputs", None) == []
    start = time.perf_counter()
    if packaged:
        files = sorted(SAMPLES.glob("*.jpg"))
        samples = [Sample(shard="", key=f.stem, index=i, image=f.read_bytes()) for i, f in enumerate(files)]
    else:
        found = all_samples(recipe.source.open())
        samples = [sample for sample in islice(found, 2 * wanted) if isinstance(sample, Sample)][:wanted]
    seconds = time.perf_counter() - start
    if not samples:
        raise UserError("source: no picture could be read to measure with; see 'captioners check' of the recipe")
    sizes = intervals.mean(_stored(samples))
    ends = (sizes.low, sizes.high) if sizes.count > 1 else (sizes.value, sizes.value)
    return _Taken(samples, Reading(samples=len(samples), stored_bytes=ends, seconds=seconds, packaged=packaged))


def _stored(samples: list[Sample]) -> list[float]:
    """Return bytes of samples as they are stored: from one image to the next where both lie in one file."""
    steps = [
        float(after.offset - before.offset)
        for before, after in pairwise(samples)
        if before.offset is not None and after.offset is not None
        if before.shard == after.shard and after.index == before.index + 1
    ]
    return steps or [float(len(sample.image)) for sample in samples]


def _write(samples: list[Sample], wanted: int, folder: Path) -> None:
    """Write one shard of so many samples; where there are fewer, they come again under other keys."""
    folder.mkdir()
    with TarWriter(folder / "00000.tar") as tar:
        for number in range(wanted):
            sample = samples[number % len(samples)]
            members = {"image": sample.image, "json": json.dumps(sample.meta, default=str).encode()}
            tar.add(f"{number:06d}", members | ({"txt": sample.captions[0].encode()} if sample.captions else {}))
