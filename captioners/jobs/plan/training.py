"""Say what a training recipe will cost before it runs: GPU-hours, memory of each GPU, disk; modelled, not measured.

Hours are operations / (GPUs x peak x utilisation), with operations and memory from the architecture
(`models.training_cost`), peaks from data sheets (`models.hardware`), a range of utilisation and what is known of the
data (`jobs.plan.data`). A figure is a range where what it rests on is one: the low end has captions of their own length
and good utilisation, the high end all captions padded to the context and poor utilisation. Not in it: pictures that are
read too slowly, evaluation, waiting for other GPUs, starting again.
"""

import math
from collections.abc import Iterator, Sequence

from captioners.core.recipe import Recipe
from captioners.jobs.plan.data import assumptions
from captioners.jobs.plan.load import Load, TrainRecipe, configuration_of, is_cached, load_of, peak_of, steps_of
from captioners.jobs.plan.rows import Plan, Row, Section
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.recipes.pretrain import PretrainRecipe
from captioners.models import coca
from captioners.models.hardware import GPUS, Fleet, parse_fleet
from captioners.models.training_cost import TrainingCost, training_cost_of

_GIB = 2**30
_PLAIN = "rtx-4090"
"""What a recipe that names no GPU is planned for."""


def training_plan(read: Recipe, gpus: str | None = None, assume: Sequence[str] = ()) -> Plan:
    """Return what a training recipe costs; `gpus` is `NAME:COUNT`, absent: what the recipe names.

    Raises:
        UserError, NotFoundError: a mistake in the GPUs or an assumption.
    """
    recipe = read.options
    assert isinstance(recipe, PretrainRecipe | FinetuneRecipe)
    config, shape_of = configuration_of(recipe)
    cost = training_cost_of(coca.outline(config))
    assumed = assumptions(recipe.source, cost.context, assume)
    own = parse_fleet(recipe.hardware or gpus or _PLAIN)
    fleet = parse_fleet(gpus) if gpus else own
    if recipe.batch_size % own.count:  # another batch than the recipe was written for
        own = fleet
    load = load_of(recipe, cost, assumed, fleet)
    sections = (
        Section("the work", tuple(_work(recipe, cost, load, assumed, shape_of))),
        Section(f"on {fleet}", tuple(_time(recipe, load, fleet, assumed))),
        Section(f"memory of one {fleet.gpu.name}", tuple(_memory(recipe, cost, load, fleet))),
        Section("disk", tuple(_disk(recipe, cost, assumed))),
        Section(f"elsewhere, set against {own}", tuple(_elsewhere(recipe, cost, assumed, own))),
        Section("assumed (--assume NAME=VALUE or NAME=LOW..HIGH)", tuple(assumed.values())),
    )
    return Plan(read.name, read.job, str(fleet), "modelled, not measured", sections)


def _work(recipe: TrainRecipe, cost: TrainingCost, load: Load, assumed: dict[str, Row], shape_of: str) -> Iterator[Row]:
    steps = steps_of(recipe, assumed)
    samples = steps * recipe.batch_size
    of = f" of the schedule's {recipe.steps:,}" if recipe.stop_at and recipe.steps else ""
    yield Row("samples seen", samples, samples, "", f"{steps:,} steps{of} x {recipe.batch_size:,} images")
    yield Row("parameters", cost.parameters, cost.parameters, "", shape_of)
    yield Row("operations of an image", *load.flops, "FLOP", "with its captions, forward and backward:")
    least, most = cost.operations(load.least), cost.operations(load.most)
    for part in most:
        yield Row(f"  {part}", least[part], most[part], "FLOP")
    yield Row("operations in all", samples * load.flops[0], samples * load.flops[1], "FLOP")


def _time(recipe: TrainRecipe, load: Load, fleet: Fleet, assumed: dict[str, Row]) -> Iterator[Row]:
    use = assumed["utilisation"]
    peak = f"{peak_of(recipe, fleet.gpu):g} TFLOP/s in {'fp32' if recipe.precision == 'fp32' else 'bf16'} a GPU"
    yield Row("GPU-hours", *load.gpu_hours(fleet.count), "h", f"{peak}, used at {use.low:.0%} to {use.high:.0%}")
    yield Row("hours", load.seconds[0] / 3600, load.seconds[1] / 3600, "h", f"{fleet.count:,} at once")
    samples = steps_of(recipe, assumed) * recipe.batch_size
    pace = samples / load.seconds[1], samples / load.seconds[0]
    yield Row("images a second", *pace, "/s", "by all GPUs")
    each = assumed["bytes_per_image"]
    if not load.most.cached:
        yield Row("to be read", pace[0] * each.low, pace[1] * each.high, "B/s", "or the GPUs wait for pictures")


def _memory(recipe: TrainRecipe, cost: TrainingCost, load: Load, fleet: Fleet) -> Iterator[Row]:
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


def _disk(recipe: TrainRecipe, cost: TrainingCost, assumed: dict[str, Row]) -> Iterator[Row]:
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
    samples = steps_of(recipe, assumed) * recipe.batch_size
    yield Row("the data", images.low * each.low, images.high * each.high, "B", "images x bytes_per_image")
    yield Row("epochs", samples / images.high, samples / images.low, "", "how often each image is seen")
    if is_cached(recipe):
        floats = images.high * cost.image_tokens * cost.decoder.width
        shape = f"{cost.image_tokens} x {cost.decoder.width} numbers of each image, in fp16 .. fp32, computed once"
        yield Row("cached features", 2 * floats, 4 * floats, "B", shape)


def _elsewhere(recipe: TrainRecipe, cost: TrainingCost, assumed: dict[str, Row], own: Fleet) -> Iterator[Row]:
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
