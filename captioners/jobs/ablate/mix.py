"""Which mix of captioners gains most for the time it takes: after a pilot, one caption of an image after another.

Greedily, the caption is added whose member gains most of the objective per second of drawing it. An objective of
variety alone would pay for what is false, so who says less that is true than the gate asks is left out, and named.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from captioners.core.errors import UserError
from captioners.core.run_dir import RunDir
from captioners.data.caption_sets import CaptionSet, Part, images_of
from captioners.data.drawn_check import facts, facts_stated
from captioners.data.drawn_scene import from_json
from captioners.data.run_pictures import RunPictures
from captioners.data.source import Sample
from captioners.jobs.ablate.folder import write
from captioners.jobs.measure.table import measure_sets
from captioners.jobs.recipes.ablate import Budget
from captioners.jobs.recipes.measure import MeasureOptions
from captioners.metrics.hashed import Batch, Numbers
from captioners.metrics.kernels import cosine_kernel
from captioners.metrics.vendi import vendi

FILE = "budget.json"
FIRST = 2000
"""Images that it is found on."""

Objective = Callable[[Mapping[str, int]], float]
"""Of a mix, layer -> its first so many captions."""


@dataclass(frozen=True)
class Step:
    """One caption more."""

    layer: str
    value: float
    """Of the objective, with it."""
    seconds: float
    """Of an image, in all so far."""


@dataclass(frozen=True)
class Mix:
    """What a budget is best spent on."""

    objective: str
    steps: tuple[Step, ...]
    refused: Mapping[str, str]
    """Layer -> why the gate keeps it out."""

    @property
    def words(self) -> str:
        """It in a sentence."""
        taken = {step.layer: sum(one.layer == step.layer for one in self.steps) for step in self.steps}
        said = " + ".join(f"{count} x {layer}" for layer, count in taken.items()) or "none passes the gate"
        value = (
            f": {self.objective} {self.steps[-1].value:.3f} at {self.steps[-1].seconds:.3g} s an image" if taken else ""
        )
        out = (
            f" Kept out: {'; '.join(f'{layer} ({why})' for layer, why in self.refused.items())}."
            if self.refused
            else ""
        )
        return f"Most {self.objective} per second of drawing: {said}{value}.{out}"


def best_mix(run: RunDir, draws: Mapping[str, int], budget: Budget, options: MeasureOptions, folder: Path) -> Mix:
    """Return the mix of a run's layers that a budget asks for, and write its steps to `budget.json`.

    Args:
        draws: of each layer. options: how the gate's metric is measured.

    Raises:
        UserError: the gate's metric or the objective is not known of these images.
    """
    spent = spent_on(run)
    lacking = [name for name in draws if name not in spent or not spent[name].each]
    if lacking:
        raise UserError(f"budget: the ledger of {run.url} has no seconds of {lacking[0]}; caption it again")
    seconds = {name: spent[name].each for name in draws}
    refused = _refused(run, draws, budget, options)
    there = {name: count for name, count in draws.items() if name not in refused}
    steps = greedy(_objective(run, there, budget), there, seconds, budget.captions) if there else ()
    mix = Mix(budget.objective, tuple(steps), refused)
    said = {"budget": budget.model_dump(mode="json"), "seconds_per_caption": seconds, "refused": refused}
    write(folder / FILE, json.dumps({**said, "steps": [asdict(step) for step in steps]}, indent=1) + "\n")
    return mix


def greedy(value: Objective, draws: Mapping[str, int], seconds: Mapping[str, float], most: int) -> list[Step]:
    """Return captions one after another, the one that gains most per second first; ties go by name.

    It ends at `most` captions, or where none gains anything any more.
    """
    taken = dict.fromkeys(draws, 0)
    now, spent, steps = 0.0, 0.0, list[Step]()
    while len(steps) < most:
        after = {name: value({**taken, name: count + 1}) for name, count in taken.items() if count < draws[name]}
        gains = {name: (one - now) / seconds[name] for name, one in after.items() if one > now}
        if not gains:
            break
        best = min(gains, key=lambda name: (-gains[name], name))
        taken[best] += 1
        now, spent = after[best], spent + seconds[best]
        steps.append(Step(best, now, spent))
    return steps


@dataclass(frozen=True)
class Spent:
    """What a layer's captions cost the workers that drew them."""

    each: float
    """Seconds of a caption."""
    images: int


def spent_on(run: RunDir) -> dict[str, Spent]:
    """Return what each finished layer of a run cost, as its ledger has it: no start that found it done adds to it."""
    seconds, rows = defaultdict[str, float](float), Counter[str]()
    for entry in run.entries():
        seconds[entry.layer] += sum(entry.seconds.values())
        rows[entry.layer] += entry.counts.rows
    draws = {layer.name: layer.draws for layer in run.layers()}
    return {name: Spent(seconds[name] / rows[name], rows[name] // draws[name]) for name in rows if rows[name]}


def _refused(run: RunDir, draws: Mapping[str, int], budget: Budget, options: MeasureOptions) -> dict[str, str]:
    found = {}
    sets = [CaptionSet(name, (Part(run.url, name, count),)) for name, count in draws.items()]
    for name, one in zip(draws, sets, strict=True):
        row = measure_sets([one], options, weighed_by=sets).rows[0]
        cell = row.cells.get(budget.gate)
        if cell is None or cell.interval is None:
            raise UserError(f"budget.gate: '{budget.gate}' is not measured of {name}; name a metric that is")
        if not cell.interval.value >= budget.least:
            found[name] = f"{budget.gate} {cell.interval.value:.2f}, and {budget.least:g} is asked"
    return found


def _objective(run: RunDir, draws: Mapping[str, int], budget: Budget) -> Objective:
    sets = [CaptionSet(name, (Part(run.url, name, count),)) for name, count in draws.items()]
    whole = [
        (image.shard, image.key, captions)
        for image, captions in islice(images_of(sets), FIRST)
        if all(len(captions[name]) == count for name, count in draws.items())
    ]
    if not whole:
        raise UserError(f"budget: no image of {run.url} has the captions of all its members")
    if budget.objective == "facts told":
        return _facts(run, whole)
    return _effective([[text for name in draws for text in captions[name]] for *_, captions in whole], draws)


def _facts(run: RunDir, whole: Sequence[tuple[str, str, Mapping[str, Sequence[str]]]]) -> Objective:
    """Return the share of an image's facts that a mix tells, mean over images."""
    pictures = RunPictures(run)
    scenes = {
        (shard, sample.key): from_json(sample.meta["scene"])
        for shard in {shard for shard, *_ in whole}
        for sample in pictures.samples(shard)
        if isinstance(sample, Sample) and "scene" in sample.meta
    }
    told = []
    for shard, key, captions in whole:
        if (shard, key) not in scenes:
            raise UserError(f"budget.objective: facts told are known of drawn scenes alone, and {key} is none")
        scene = scenes[shard, key]
        stated = {name: [frozenset(facts_stated(text, scene)) for text in texts] for name, texts in captions.items()}
        told.append((stated, len(facts(scene))))

    def value(mix: Mapping[str, int]) -> float:
        shares = [
            len(frozenset().union(*(one for name, count in mix.items() for one in stated[name][:count]))) / known
            for stated, known in told
        ]
        return float(np.mean(shares))

    return value


def _effective(captions: Sequence[Sequence[str]], draws: Mapping[str, int]) -> Objective:
    """Return the captions in effect of a mix (Vendi score), mean over images."""
    kernels: Numbers = cosine_kernel(Batch.of(captions))
    ends = np.cumsum([0, *draws.values()]).tolist()
    starts = dict(zip(draws, ends, strict=False))

    def value(mix: Mapping[str, int]) -> float:
        rows = np.concatenate([np.arange(starts[name], starts[name] + count) for name, count in mix.items()])
        return float(np.nanmean(vendi(kernels[:, rows[:, None], rows])))

    return value
