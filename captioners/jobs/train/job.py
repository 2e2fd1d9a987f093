"""Pretrain or fine-tune a CoCa: read the set, train, write a captioner. The same command continues a stopped run.

runs/finetune-1a2b3c/
    recipe.yaml       what is done, everything written out
    captioner/        the result: what `captioners caption -c` and plain open_clip open; only there when it is finished
    metrics.jsonl     loss, learning rate, gradient norm, samples/s
    evaluations.jsonl captions of held-out images and their scores, as it learned
    training.html     both, to look at
    result.json       whether it got better, on images that nothing was chosen by
    split.jsonl       which images were trained on, which held out
    skipped.jsonl     what of the data could not be read, and why
    checkpoints/      weights, optimizer and position; needed only to go on
    features/         what a frozen image tower says of the images; needed only to go on
    tokenizer/        the tokenizer that a pretraining trained
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from accelerate import Accelerator

from captioners.core.options import meaning_of
from captioners.core.processes import said_once
from captioners.data.licences import licences_of
from captioners.images.preprocess import Preprocess
from captioners.jobs.recipes.train import data_licence_of
from captioners.jobs.train.data import Data, steps_of
from captioners.jobs.train.folder import begun, folder_of, write_recipe
from captioners.jobs.train.read import ReadingFor, read_data
from captioners.jobs.train.start import Recipe, Start, check_licence, preprocess_of, start_of
from captioners.jobs.train.verdict import check_scorer
from captioners.jobs.train.watch import Watch, evaluate_every
from captioners.kinds.directory import write_open_clip
from captioners.models.weights import weights_digest
from captioners.training.devices import accelerator_for
from captioners.training.features import cached_features
from captioners.training.gradients import Images
from captioners.training.loop import Plan, Record, Trainer
from captioners.training.ranks import Ranks
from captioners.training.shown import Shown

T = TypeVar("T")
_MOST_WARMUP = 1000


@dataclass
class TrainRun:
    """What a run did."""

    directory: Path
    captioner: Path
    """The captioner's own directory."""
    images: int
    captions: int
    cut: int
    """Captions that were longer than the context, and were cut."""
    skipped: list[dict[str, str]]
    """Shard, key, reason and error of what could not be read."""
    resumed_from: int
    """Steps done by earlier starts."""
    steps: int
    last: Record | None = None
    """The last step's; None where a resumed run had nothing left to do."""
    stopped_because: str = ""
    """Why it ended before its last step; empty if it did not."""


def train(
    recipe: Recipe, show: Callable[[Shown], None] = lambda _: None, say: Callable[[str], None] = lambda _: None
) -> TrainRun:
    """Train as the recipe says and return the run; `show` gets each record of metrics, `say` what happens between.

    Raises:
        UserError: a mistake in the recipe or its data, the output is another run's, or finished, or it takes too long.
        InterruptedRunError: it was stopped; a checkpoint is written. NeedsLookError: the loss is no number any more, or
            the captioner says the same of everything.
    """
    name = folder_of(recipe)
    with ExitStack() as stack:
        with said_once():
            check_licence(recipe)
            accelerator = stack.enter_context(accelerator_for(recipe.device, recipe.precision, recipe.trackers, name))
        ranks = stack.enter_context(closing(Ranks(accelerator)))
        directory = ranks.on_main(lambda: begun(recipe, name, stack))
        say = say if ranks.is_main else lambda _: None
        source = recipe.source.open()
        start = _main_first(ranks, lambda: start_of(recipe, source, directory))
        ranks.on_main(lambda: check_scorer(recipe, start, say))
        preprocess = preprocess_of(start.loaded)
        reading = ReadingFor(directory, say, writes=ranks.is_main)
        data = _main_first(ranks, lambda: read_data(recipe, source, start, preprocess, reading))
        schedule = steps_of(recipe, data)
        steps = recipe.stop_at or schedule
        with ExitStack() as open_batches:
            batches = ranks.on_all(lambda: open_batches.enter_context(data.batches(ranks.rank, ranks.world)))
            images = _images(recipe, start, data, preprocess, ranks, directory, steps, say)
            trainer = ranks.on_all(
                lambda: Trainer(
                    start.loaded.model,
                    recipe.objective,
                    batches,
                    images,
                    plan=_plan(recipe, steps, schedule, evaluate_every(recipe, data, steps)),
                    folder=directory,
                    ranks=ranks,
                    facts=_facts(recipe, start, data, accelerator),
                )
            )
            ranks.on_main(lambda: write_recipe(recipe, directory))  # now that the run's own checkpoint agrees to it
            run = _run_of(directory, data, trainer, say)
            watch = Watch(recipe, start, data, trainer, preprocess, run.steps, show, say)
            run.stopped_because = watch.train()
        run.last = watch.last
        if ranks.is_main:
            start.loaded.model.eval().to("cpu")
            card = _card(recipe, start, data, directory, watch.judge())
            write_open_clip(start.loaded, start.tokenizer, card, run.captioner, save_dtype=recipe.save_dtype)
            watch.page(running=False)
    return run


def _images(
    recipe: Recipe,
    start: Start,
    data: Data,
    preprocess: Preprocess,
    ranks: Ranks,
    directory: Path,
    steps: int,
    say: Callable[[str], None],
) -> Images:
    """Return how the model sees pictures: through its tower, or where that stays as it is, by features kept on disk."""
    frozen = recipe.tune == "text" and data.pixels_of is not None
    if not frozen or steps * recipe.batch_size < data.images:  # else each would be seen less than once
        return preprocess.normalised
    assert data.pixels_of is not None
    model = start.loaded.model.to(ranks.accelerator.device)
    return cached_features(
        model,
        preprocess.normalised,
        data.pixels_of,
        data.images,
        directory / "features",
        ranks=ranks,
        facts={
            "tower": weights_digest(model.state_dict(), "visual."),
            "data": data.digest,
            "shown": [recipe.decode_profile, preprocess.digest],
            "split": recipe.split.model_dump() if recipe.split else None,
        },
        contrastive=recipe.objective.contrastive_weight > 0,
        say=say,
    )


def _main_first(ranks: Ranks, work: Callable[[], T]) -> T:
    """Do the same on every process, on the main one first: the others find what it wrote; if one fails, all do."""
    done: list[T] = []
    ranks.on_main(lambda: done.append(work()))
    return ranks.on_all(lambda: done[0] if done else work())


def _run_of(directory: Path, data: Data, trainer: Trainer, say: Callable[[str], None]) -> TrainRun:
    run = TrainRun(
        directory=directory,
        captioner=directory / "captioner",
        images=data.images,
        captions=data.captions,
        cut=data.cut,
        skipped=data.skipped,
        resumed_from=trainer.step,
        steps=trainer.plan.steps,
    )
    trained = sum(parameter.numel() for parameter in trainer.parameters.values())
    whole = sum(parameter.numel() for parameter in trainer.model.parameters())
    say(
        f"{run.images:,} images, {run.captions:,} captions ({run.cut:,} cut to the context); {trained / 1e6:.2f} "
        f"of {whole / 1e6:.2f} million parameters are trained on {trainer.accelerator.device}"
        + (f"; going on after step {trainer.step}" if trainer.step else "")
    )
    return run


def _plan(recipe: Recipe, steps: int, schedule: int, looks_every: int | None) -> Plan:
    warmup = min(_MOST_WARMUP, schedule // 20) if recipe.warmup is None else min(recipe.warmup, schedule)
    return Plan(
        steps=steps,
        schedule_steps=schedule,
        lr=recipe.lr,
        warmup=warmup,
        weight_decay=recipe.weight_decay,
        tune=recipe.tune,
        checkpoint_every=recipe.checkpoint_every,
        keep_checkpoints=recipe.keep_checkpoints,
        log_every=recipe.log_every,
        evaluate_every=looks_every,
        micro_batch=recipe.micro_batch,
        checkpoint_activations=recipe.checkpoint_activations,
        compile=recipe.compile,
    )


def _facts(recipe: Recipe, start: Start, data: Data, accelerator: Accelerator) -> dict[str, Any]:
    """Return what decides every step: a stopped run goes on only under the same."""
    meant = meaning_of(recipe)
    for name in ("source", "init", "save_dtype", "precision"):  # the first two by what they hold, below
        meant.pop(name, None)
    return {
        **meant,
        "precision": accelerator.mixed_precision,
        # A set in memory is shared out step by step, a streamed one shard by shard, so what a step reads depends on it.
        **({"processes": accelerator.num_processes} if recipe.stream is not None else {}),
        "init": start.came_from.get("digest", "random"),
        "tokenizer": start.tokenizer.digest,
        "data": data.digest,
    }


def _card(recipe: Recipe, start: Start, data: Data, directory: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    what = "fine-tuning data" if start.came_from else "training data"
    licences = {"weights": "unspecified", **start.licences}
    name = recipe.name or directory.name
    of_data = licences_of(recipe.source)
    licences[what if what not in licences else f"{what} of {name}"] = data_licence_of(recipe)
    meant = {key: value for key, value in meaning_of(recipe).items() if key != "init"}  # it may be a path
    return {
        "name": name,
        "licences": licences,
        "recommended_decoding": (recipe.recommended_decoding or start.recommended).model_dump(
            mode="json", exclude_none=True
        ),
        **({"knows_only": knows_only} if (knows_only := recipe.knows_only or start.knows_only) else {}),
        "init": start.came_from or None,
        "commercial_use": "no" if start.noncommercial else of_data.commercial_use,
        "recipe": meant,
        "data": {"images": data.images, "captions": data.captions, "digest": data.digest},
        **result,
    }
