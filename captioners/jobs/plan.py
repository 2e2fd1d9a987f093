"""Say what a training recipe will cost before it runs: GPU-hours, memory of each GPU, disk; modelled, not measured.

Hours are operations / (GPUs x peak x utilisation), with operations and memory from the architecture
(`models.training_cost`), peaks from data sheets (`models.hardware`), a range of utilisation and what is known of the
data (`plan_data`). A figure is a range where what it rests on is one: the low end has captions of their own length and
good utilisation, the high end all captions padded to the context and poor utilisation. Not in it: pictures that are
read too slowly, evaluation, waiting for other GPUs, starting again.
"""

import json
import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioners.core.errors import NotFoundError, UserError
from captioners.core.recipe import read_recipe
from captioners.jobs.finetune_recipe import FinetuneRecipe
from captioners.jobs.plan_data import Row, assumptions
from captioners.jobs.pretrain_recipe import PretrainRecipe
from captioners.kinds.catalogue import CONFIG, TINY, find
from captioners.models import coca
from captioners.models.hardware import GPUS, Fleet, Gpu, parse_fleet
from captioners.models.training_cost import Step, TrainingCost, training_cost_of

Recipe = PretrainRecipe | FinetuneRecipe

_GIB = 2**30
_DRIVER = (0.6, 1.2)
"""GiB that CUDA's context and workspaces take of a GPU."""
_ALLOCATOR = (1.0, 1.12)
"""What the allocator reserves of a GPU, over what is asked of it."""
_PLAIN = "rtx-4090"
"""What a recipe that names no GPU is planned for."""
_USUAL = "coca_ViT-L-14"


@dataclass(frozen=True)
class Section:
    """Rows that belong together."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Plan:
    """What a recipe costs on one fleet, and what that rests on."""

    recipe: str
    job: str
    fleet: Fleet
    sections: tuple[Section, ...]

    def row(self, what: str) -> Row:
        """Return the row of a name; raise KeyError if there is none."""
        for section in self.sections:
            for row in section.rows:
                if row.what == what:
                    return row
        raise KeyError(what)


@dataclass(frozen=True)
class Load:
    """What one fleet is given to do, between its least and its most."""

    least: Step
    most: Step
    memory: tuple[float, float]
    """GiB of one GPU."""
    flops: tuple[float, float]
    """Operations of one image with its captions."""
    seconds: tuple[float, float]
    """Of the whole run."""

    def gpu_hours(self, gpus: int) -> tuple[float, float]:
        """Return the hours of all GPUs together."""
        low, high = self.seconds
        return low * gpus / 3600, high * gpus / 3600


def plan(source: str, overrides: Sequence[str] = (), gpus: str | None = None, assume: Sequence[str] = ()) -> Plan:
    """Return what a recipe costs; `gpus` is `NAME:COUNT`, absent: what the recipe names.

    Raises:
        UserError, NotFoundError: a mistake in the recipe, the GPUs or an assumption; or it is no training recipe.
    """
    read = read_recipe(source, overrides)
    recipe = read.options
    if not isinstance(recipe, PretrainRecipe | FinetuneRecipe):
        raise UserError(f"{source}: a recipe of the job '{read.job}'; plan covers pretrain and finetune so far")
    config, shape_of = _configuration(recipe)
    cost = training_cost_of(coca.outline(config))
    assumed = assumptions(recipe.source, cost.context, assume)
    own = parse_fleet(recipe.hardware or gpus or _PLAIN)
    fleet = parse_fleet(gpus) if gpus else own
    if recipe.batch_size % own.count:  # another batch than the recipe was written for
        own = fleet
    load = load_of(recipe, cost, assumed, fleet)
    sections = (
        Section("the work", tuple(_work(recipe, cost, load, shape_of))),
        Section(f"on {fleet}", tuple(_time(recipe, load, fleet, assumed))),
        Section(f"memory of one {fleet.gpu.name}", tuple(_memory(recipe, cost, load, fleet))),
        Section("disk", tuple(_disk(recipe, cost, assumed))),
        Section(f"elsewhere, set against {own}", tuple(_elsewhere(recipe, cost, assumed, own))),
        Section("assumed (--assume NAME=VALUE or NAME=LOW..HIGH)", tuple(assumed.values())),
    )
    return Plan(read.name, read.job, fleet, sections)


def load_of(recipe: Recipe, cost: TrainingCost, assumed: dict[str, Row], fleet: Fleet) -> Load:
    """Return what a fleet is given to do: the micro-batch that the recipe names, or the largest that fits.

    Raises UserError if the batch cannot be split over so many GPUs.
    """
    share, rest = divmod(recipe.batch_size, fleet.count)
    if rest:
        raise UserError(
            f"batch_size {recipe.batch_size:,} cannot be split over {fleet.count} GPUs; take a number that divides it"
        )
    asked = _key(recipe, "micro_batch", "auto")
    micros = [min(asked, share)] if isinstance(asked, int) else [m for m in range(share, 0, -1) if share % m == 0]
    for micro in micros:
        least, most = (_step(recipe, assumed, fleet, micro, end) for end in (0, 1))
        if _memory_of(cost, most)[1] <= fleet.gpu.memory:
            break
    flops = sum(cost.operations(least).values()), sum(cost.operations(most).values())
    samples = recipe.last_step * recipe.batch_size
    peak = fleet.count * _peak(recipe, fleet.gpu) * 1e12
    use = assumed["utilisation"]
    once = assumed["images"].high * cost.encode if most.cached and "images" in assumed else 0.0
    seconds = (samples * flops[0] + once) / (peak * use.high), (samples * flops[1] + once) / (peak * use.low)
    return Load(least, most, (_memory_of(cost, least)[0], _memory_of(cost, most)[1]), flops, seconds)


def _step(recipe: Recipe, assumed: dict[str, Row], fleet: Fleet, micro: int, end: int) -> Step:
    padded, frozen = assumed["padded_tokens"], recipe.tune == "text"
    return Step(
        batch=recipe.batch_size,
        gpus=fleet.count,
        micro_batch=micro,
        tokens=(padded.low, padded.high)[end],
        labels=assumed["caption_tokens"].high - 1,
        captions=_key(recipe, "captions_per_step", 1),
        contrastive=recipe.objective.contrastive_weight > 0,
        tune_image=not frozen,
        cached=_cached(recipe),
        checkpointing=_key(recipe, "gradient_checkpointing", False),
        compute_bytes=4 if recipe.precision == "fp32" else 2,
    )


def _key(recipe: Recipe, name: str, default: Any) -> Any:
    """Return a key of the recipe, or what it is where this kind of recipe has no such key."""
    return getattr(recipe, name, default)


def _cached(recipe: Recipe) -> bool:
    """Whether the image tower's features are computed once: it is frozen, and sees every picture as it is."""
    return recipe.tune == "text" and _key(recipe, "augmentation", "none") == "none"


def _peak(recipe: Recipe, gpu: Gpu) -> float:
    return gpu.fp32 if recipe.precision == "fp32" else gpu.bf16


def _memory_of(cost: TrainingCost, step: Step) -> tuple[float, float]:
    held = sum(cost.memory(step).values()) / _GIB
    return held * _ALLOCATOR[0] + _DRIVER[0], held * _ALLOCATOR[1] + _DRIVER[1]


def _work(recipe: Recipe, cost: TrainingCost, load: Load, shape_of: str) -> Iterator[Row]:
    samples = recipe.last_step * recipe.batch_size
    of = f" of the schedule's {recipe.steps:,}" if recipe.stop_at else ""
    yield Row("samples seen", samples, samples, "", f"{recipe.last_step:,} steps{of} x {recipe.batch_size:,} images")
    yield Row("parameters", cost.parameters, cost.parameters, "", shape_of)
    yield Row("operations of an image", *load.flops, "FLOP", "with its captions, forward and backward:")
    least, most = cost.operations(load.least), cost.operations(load.most)
    for part in most:
        yield Row(f"  {part}", least[part], most[part], "FLOP")
    yield Row("operations in all", samples * load.flops[0], samples * load.flops[1], "FLOP")


def _time(recipe: Recipe, load: Load, fleet: Fleet, assumed: dict[str, Row]) -> Iterator[Row]:
    use = assumed["utilisation"]
    peak = f"{_peak(recipe, fleet.gpu):g} TFLOP/s in {'fp32' if recipe.precision == 'fp32' else 'bf16'} a GPU"
    yield Row("GPU-hours", *load.gpu_hours(fleet.count), "h", f"{peak}, used at {use.low:.0%} to {use.high:.0%}")
    yield Row("hours", load.seconds[0] / 3600, load.seconds[1] / 3600, "h", f"{fleet.count:,} at once")
    samples = recipe.last_step * recipe.batch_size
    pace = samples / load.seconds[1], samples / load.seconds[0]
    yield Row("images a second", *pace, "/s", "by all GPUs")
    each = assumed["bytes_per_image"]
    if not load.most.cached:
        yield Row("to be read", pace[0] * each.low, pace[1] * each.high, "B/s", "or the GPUs wait for pictures")


def _memory(recipe: Recipe, cost: TrainingCost, load: Load, fleet: Fleet) -> Iterator[Row]:
    step, share = load.most, recipe.batch_size // fleet.count
    fits = "fits" if load.memory[1] <= fleet.gpu.memory else "may not fit" if load.memory[0] <= fleet.gpu.memory else (
        "does not fit"
    )  # fmt: skip
    yield Row(
        "in all", load.memory[0] * _GIB, load.memory[1] * _GIB, "B", f"of {fleet.gpu.memory:g} GiB: {fits}; of which"
    )
    least, most = cost.memory(load.least), cost.memory(step)
    for part in most:
        yield Row(f"  {part}", least[part], most[part], "B")
    yield Row("micro-batch", step.micro_batch, step.micro_batch, "images", f"of {share:,} that a GPU has in a step")


def _disk(recipe: Recipe, cost: TrainingCost, assumed: dict[str, Row]) -> Iterator[Row]:
    trained = cost.parameters - (cost.image_parameters if recipe.tune == "text" else 0)
    checkpoint = 4.0 * cost.parameters + 8.0 * trained
    kept = recipe.keep_checkpoints
    yield Row("a checkpoint", checkpoint, checkpoint, "B", "weights, and AdamW's moments of what is trained")
    how = f"the last {kept}, the best, and one being written"
    yield Row("checkpoints at most", (kept + 2) * checkpoint, (kept + 2) * checkpoint, "B", how)
    size = (2.0 if recipe.save_dtype == "fp16" else 4.0) * cost.parameters
    yield Row("the captioner", size, size, "B", f"its weights in {recipe.save_dtype}")
    each, images = assumed["bytes_per_image"], assumed.get("images")
    if images is None:
        yield Row("the data", 0, math.inf, "B", "how many images is not known; say --assume images=N")
        return
    samples = recipe.last_step * recipe.batch_size
    yield Row("the data", images.low * each.low, images.high * each.high, "B", "images x bytes_per_image")
    yield Row("epochs", samples / images.high, samples / images.low, "", "how often each image is seen")
    if _cached(recipe):
        floats = images.high * cost.image_tokens * cost.decoder.width
        shape = f"{cost.image_tokens} x {cost.decoder.width} numbers of each image, in fp16 .. fp32, computed once"
        yield Row("cached features", 2 * floats, 4 * floats, "B", shape)


def _elsewhere(recipe: Recipe, cost: TrainingCost, assumed: dict[str, Row], own: Fleet) -> Iterator[Row]:
    base = load_of(recipe, cost, assumed, own)
    yield Row(str(own), *base.gpu_hours(own.count), "GPU-h", f"micro-batch {base.most.micro_batch:,}")
    hours = base.seconds[0]
    for gpu in GPUS:
        fleet = Fleet(gpu, _divisor(recipe.batch_size, own.count))
        if gpu == own.gpu:
            continue
        load = load_of(recipe, cost, assumed, fleet)
        if load.memory[1] > gpu.memory:
            yield Row(gpu.name, 0, math.inf, "GPU-h", f"not an image fits into its {gpu.memory:g} GiB")
            continue
        many = math.ceil(fleet.count * load.seconds[0] / hours)
        how = f"micro-batch {load.most.micro_batch:,}; {many:,} of them take as long"
        yield Row(gpu.name, *load.gpu_hours(fleet.count), "GPU-h", how)


def _divisor(batch: int, count: int) -> int:
    return count if batch % count == 0 else 1


def _configuration(recipe: Recipe) -> tuple[coca.Config, str]:
    """Return the model's configuration, and where it is from; no weights are loaded or fetched."""
    if isinstance(recipe, PretrainRecipe):
        config = deepcopy(recipe.model) if isinstance(recipe.model, dict) else coca.architecture(recipe.model)
        if recipe.tokenizer != "clip":
            config["text_cfg"]["vocab_size"] = recipe.tokenizer.sentencepiece.vocab_size
        how = "as the recipe writes it" if isinstance(recipe.model, dict) else recipe.model
    else:
        config, how = _of_init(recipe.init)
    return (coca.with_context(config, recipe.context_length) if recipe.context_length else config), how


def _of_init(init: str) -> tuple[coca.Config, str]:
    try:
        known = find(init)
    except NotFoundError:
        if not init.startswith("runs/"):
            raise
        return coca.architecture(_USUAL), f"{_USUAL}, assumed: {init} is not made yet"
    origin = known.origin
    if origin.kind == "random" and origin.model == "tiny":
        return deepcopy(TINY), known.name
    if origin.kind in ("random", "tag", "file"):
        return coca.architecture(origin.model), f"{origin.model}, of {known.name}"
    file = Path(origin.where).expanduser() / CONFIG
    if origin.kind == "hub" or not file.is_file():
        return coca.architecture(_USUAL), f"{_USUAL}, assumed: {init} is not looked up"
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["model_cfg"]), f"of {known.name}"
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: not readable JSON with 'model_cfg'; export the captioner again") from None
