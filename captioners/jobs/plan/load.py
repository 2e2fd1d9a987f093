"""What a fleet is given to do by a training recipe, as `plan` models it: the model, its step, memory and hours."""

import json
from copy import deepcopy
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from captioners.core.errors import NotFoundError, UserError
from captioners.jobs.plan.rows import Row
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.recipes.pretrain import PretrainRecipe
from captioners.kinds.catalogue import CONFIG, TINY, find
from captioners.models import coca
from captioners.models.hardware import Fleet, Gpu
from captioners.models.training_cost import Step, TrainingCost

TrainRecipe = PretrainRecipe | FinetuneRecipe

_GIB = 2**30
_DRIVER = (0.6, 1.2)
"""GiB that CUDA's context and workspaces take of a GPU."""
_ALLOCATOR = (1.0, 1.12)
"""What the allocator reserves of a GPU, over what is asked of it."""
_USUAL = "coca_ViT-L-14"


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


def load_of(recipe: TrainRecipe, cost: TrainingCost, assumed: dict[str, Row], fleet: Fleet) -> Load:
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
    samples = steps_of(recipe, assumed) * recipe.batch_size
    peak = fleet.count * peak_of(recipe, fleet.gpu) * 1e12
    use = assumed["utilisation"]
    once = assumed["images"].high * cost.encode if most.cached and "images" in assumed else 0.0
    seconds = (samples * flops[0] + once) / (peak * use.high), (samples * flops[1] + once) / (peak * use.low)
    return Load(least, most, (_memory_of(cost, least)[0], _memory_of(cost, most)[1]), flops, seconds)


def _step(recipe: TrainRecipe, assumed: dict[str, Row], fleet: Fleet, micro: int, end: int) -> Step:
    padded, frozen = assumed["padded_tokens"], recipe.tune == "text"
    return Step(
        batch=recipe.batch_size,
        gpus=fleet.count,
        micro_batch=micro,
        tokens=(padded.low, padded.high)[end],
        labels=assumed["caption_tokens"].high - 1,
        captions=recipe.captions_per_step,
        contrastive=recipe.objective.contrastive_weight > 0,
        tune_image=not frozen,
        cached=is_cached(recipe),
        checkpointing=_key(recipe, "gradient_checkpointing", False),
        compute_bytes=4 if recipe.precision == "fp32" else 2,
    )


def _key(recipe: TrainRecipe, name: str, default: Any) -> Any:
    """Return a key of the recipe, or what it is where this kind of recipe has no such key."""
    return getattr(recipe, name, default)


def steps_of(recipe: TrainRecipe, assumed: dict[str, Row]) -> int:
    """Return the steps that are run; raise UserError where they follow from a number of images that is not known."""
    if recipe.steps is not None:
        return recipe.stop_at or recipe.steps
    if "images" not in assumed:
        raise UserError("epochs: how many images is not known, so nor how many steps; say --assume images=N")
    assert recipe.epochs is not None
    return max(1, ceil(recipe.epochs * assumed["images"].high / recipe.batch_size))


def is_cached(recipe: TrainRecipe) -> bool:
    """Whether the image tower's features are computed once: it is frozen, and sees every picture as it is."""
    return recipe.tune == "text" and recipe.augmentation == "none"


def peak_of(recipe: TrainRecipe, gpu: Gpu) -> float:
    """Return what a GPU does at most in the recipe's precision, in TFLOP/s."""
    return gpu.fp32 if recipe.precision == "fp32" else gpu.bf16


def _memory_of(cost: TrainingCost, step: Step) -> tuple[float, float]:
    held = sum(cost.memory(step).values()) / _GIB
    return held * _ALLOCATOR[0] + _DRIVER[0], held * _ALLOCATOR[1] + _DRIVER[1]


def configuration_of(recipe: TrainRecipe) -> tuple[coca.Config, str]:
    """Return the model's configuration, and where it is from; no weights are loaded or fetched."""
    if isinstance(recipe, PretrainRecipe):
        config = deepcopy(recipe.model) if isinstance(recipe.model, dict) else coca.architecture(recipe.model)
        if recipe.tokenizer != "clip":
            config["text_cfg"]["vocab_size"] = recipe.tokenizer.sentencepiece.vocab_size
        how = "as the recipe writes it" if isinstance(recipe.model, dict) else recipe.model
    else:
        config, how = configuration_named(recipe.init)
    return (coca.with_context(config, recipe.context_length) if recipe.context_length else config), how


def configuration_named(init: str) -> tuple[coca.Config, str]:
    """Return the configuration of a captioner, and where it is from; raise NotFoundError where nothing is called so."""
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
