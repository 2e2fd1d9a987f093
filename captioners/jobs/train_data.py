"""Read the set that a run trains on, once: look at it, share it out, and keep its pictures and token ids at hand."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioners.core.errors import UserError
from captioners.data.batches import TrainingSet, read_training_set
from captioners.data.duplicates import near_duplicates
from captioners.data.facts import facts_of
from captioners.data.pixel_store import PixelStore
from captioners.data.source import Source
from captioners.data.split import TOO_FEW, Part, groups_of, parts_of
from captioners.data.survey import Item, Survey, survey
from captioners.images.preprocess import Preprocess
from captioners.jobs.finetune_recipe import FinetuneRecipe
from captioners.jobs.train_start import Recipe, Start
from captioners.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class HeldOut:
    """Images that are not trained on, in an order of their own (by hash), so that the first of them are any."""

    keys: Sequence[str] = ()
    pixels: Sequence[NDArray[np.uint8]] = ()
    """[3, H, W] each, resized as the model sees them."""
    captions: Sequence[tuple[str, ...]] = ()
    """What people wrote of each."""

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.keys)

    def first(self, count: int) -> "HeldOut":
        """Return at most `count` of them."""
        return HeldOut(self.keys[:count], self.pixels[:count], self.captions[:count])

    def image(self, number: int) -> Image.Image:
        """Return a picture, RGB, of the model's input size."""
        return Image.fromarray(np.ascontiguousarray(self.pixels[number].transpose(1, 2, 0)))


@dataclass(frozen=True)
class Data:
    """What a run reads."""

    train: TrainingSet
    digest: str
    """Of the whole set, the images held out among it."""
    val: HeldOut = field(default_factory=HeldOut)
    test: HeldOut = field(default_factory=HeldOut)


def read_data(
    recipe: Recipe, source: Source, start: Start, preprocess: Preprocess, directory: Path, say: Callable[[str], None]
) -> Data:
    """Read the recipe's set; `skipped.jsonl` and `split.jsonl` are written to the run, what is found is said.

    Raises:
        UserError: nothing usable is there, too much of it is not, or the disk is full.
    """
    if not isinstance(recipe, FinetuneRecipe) and recipe.split is None:
        held = read_training_set(
            source,
            preprocess,
            start.tokenizer,
            start.loaded.context_length,
            profile=recipe.decode_profile,
            max_bytes=int(recipe.memory_gb * 1e9),
        )
        _write(directory / "skipped.jsonl", held.skipped)
        _say_skipped(held.skipped, held.read, directory, say)
        return Data(held, held.digest)
    with PixelStore(directory) as store:
        found = survey(
            source,
            profile=recipe.decode_profile,
            group_by=recipe.split.group_by if recipe.split else None,
            prepare=preprocess.pixels,
            keep=store.add,
        )
        pixels = store.rows()
    _write(directory / "skipped.jsonl", found.skipped)
    near = near_duplicates([item.fingerprint for item in found.items]).tolist()
    _check(recipe, start, found, near, say)
    _say_skipped(found.skipped, found.read, directory, say)
    parts = _parts(recipe, found, near, directory, say)
    numbers = [number for number, part in enumerate(parts) if part == "train"]
    train = _training_set([found.items[n] for n in numbers], [pixels[n] for n in numbers], start)
    train.skipped[:0] = found.skipped
    train.digest = digest_of(found.items)
    return Data(train, train.digest, _held_out(found, pixels, parts, "val"), _held_out(found, pixels, parts, "test"))


def steps_of(recipe: Recipe, train: TrainingSet) -> int:
    """Return the steps of the run: those of the recipe, or of its epochs."""
    if recipe.steps is not None:
        return recipe.steps
    assert recipe.epochs is not None
    return max(1, ceil(recipe.epochs * epoch_of(recipe, train)))


def epoch_of(recipe: Recipe, train: TrainingSet) -> float:
    """Return the steps in which everything is seen once."""
    samples = train.num_captions if recipe.captions == "per_caption" else len(train.keys)
    return samples / recipe.batch_size


def digest_of(items: Iterable[Item]) -> str:
    """Return sha256 over keys, image bytes and captions, in order: whether a run goes on with what it began with."""
    digest = sha256()
    for item in items:
        digest.update(json.dumps([item.shard, item.key, item.sha256, *item.captions]).encode())
    return digest.hexdigest()


def _check(recipe: Recipe, start: Start, found: Survey, near: Sequence[int], say: Callable[[str], None]) -> None:
    facts = facts_of(found, near, start.tokenizer, start.loaded.context_length)
    if problem := facts.problem(recipe.skipped_ceiling):
        raise UserError(problem)
    for line in facts.lines(recipe.data_licence):
        say(line)
    for warning in facts.warnings():
        say(f"warning     {warning}")


def _say_skipped(skipped: Sequence[dict[str, str]], read: int, directory: Path, say: Callable[[str], None]) -> None:
    if skipped:
        say(
            f"{len(skipped):,} of {read:,} samples were skipped (all in {directory / 'skipped.jsonl'}); "
            f"the first, {skipped[0]['reason']}: {skipped[0]['error']}"
        )


def _parts(
    recipe: Recipe, found: Survey, near: Sequence[int], directory: Path, say: Callable[[str], None]
) -> list[Part]:
    """Return each item's part, and write them all to `split.jsonl`."""
    if recipe.split is None:
        return ["train"] * len(found.items)
    groups = groups_of(found.items, near)
    parts = parts_of(groups, recipe.split)
    _write(
        directory / "split.jsonl",
        (
            {"shard": item.shard, "key": item.key, "sha256": item.sha256, "group": group, "part": part}
            for item, group, part in zip(found.items, groups, parts, strict=True)
        ),
    )
    if len(parts) < TOO_FEW:
        say(
            f"split       all {len(parts)} images are trained on: fewer than {TOO_FEW} are too few to hold some out, "
            "so nothing will say when to stop or whether it got better"
        )
    else:
        counts = ", ".join(f"{parts.count(part):,} {part}" for part in ("train", "val", "test"))
        say(f"split       {counts}, by {len(set(groups)):,} groups ({directory / 'split.jsonl'})")
    return parts


def _training_set(items: Sequence[Item], pixels: Sequence[NDArray[np.uint8]], start: Start) -> TrainingSet:
    """Return the items as token ids with their pixels; one without a single token is skipped."""
    held = TrainingSet()
    for item, picture in zip(items, pixels, strict=True):
        several = _token_rows(held, item, start.tokenizer, start.loaded.context_length)
        if not several:
            error = f"{item.name}: no caption with a token in it; give it one, or leave the image out"
            held.skipped.append({"shard": item.shard, "key": item.key, "reason": "no_caption", "error": error})
            continue
        held.keys.append(item.name)
        held.pixels.append(picture)
        held.captions.append(several)
    return held


def _token_rows(held: TrainingSet, item: Item, tokenizer: Tokenizer, context: int) -> list[NDArray[np.int32]]:
    rows = []
    for text in item.captions:
        ids = tokenizer.encode(text)
        held.cut += len(ids) > context - 2
        held.empty += not ids
        if ids:
            rows.append(np.array([tokenizer.start_id, *ids[: context - 2], tokenizer.end_id], dtype=np.int32))
    return rows


def _held_out(found: Survey, pixels: NDArray[np.uint8], parts: Sequence[Part], wanted: Part) -> HeldOut:
    numbers = [number for number, part in enumerate(parts) if part == wanted]
    numbers.sort(key=lambda number: (found.items[number].sha256, number))
    items = [found.items[number] for number in numbers]
    return HeldOut(
        [item.name for item in items], [pixels[number] for number in numbers], [item.captions for item in items]
    )


def _write(path: Path, records: Iterable[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
