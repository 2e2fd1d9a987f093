"""Read the set that a run trains on: looked at and shared out, held in memory as it is, or streamed."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import UserError
from captioners.data.batches import Batches
from captioners.data.blocks import BlockReader, Choices
from captioners.data.duplicates import near_duplicates
from captioners.data.facts import facts_of, too_many_skipped
from captioners.data.frozen import digest_of, frozen_shards
from captioners.data.leaks import LeakReport
from captioners.data.mixture_source import part_of, weights_of
from captioners.data.pixel_store import PixelStore
from captioners.data.skipped import Skipped
from captioners.data.source import Source, describe
from captioners.data.split import TOO_FEW, Part, groups_of, parts_of
from captioners.data.survey import Item, Survey, survey
from captioners.data.training_set import TrainingSet, read_training_set
from captioners.images.pool import DecodePool
from captioners.images.preprocess import Preprocess
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.recipes.train import data_licence_of
from captioners.jobs.train.data import Data, HeldOut, held_data
from captioners.jobs.train.start import Recipe, Start
from captioners.text.truncate import caption_ids
from captioners.training.stream import StreamBatches

Say = Callable[[str], None]


@dataclass(frozen=True)
class ReadingFor:
    """The run that a set is read for, or one process's part of it."""

    directory: Path
    say: Say
    writes: bool = True
    """Whether this is the process that writes."""

    def write(self, name: str, records: Iterable[dict[str, Any]]) -> None:
        """Write a file of the run, a line a record."""
        if self.writes:
            lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            (self.directory / name).write_text(lines, encoding="utf-8")


def read_data(recipe: Recipe, source: Source, start: Start, preprocess: Preprocess, run: ReadingFor) -> Data:
    """Read the recipe's set; `skipped.jsonl` and `split.jsonl` are written to the run, what is found is said.

    A finetuning looks at all of it first; a set that is streamed is never seen whole.

    Raises:
        UserError: nothing usable is there, too much of it is not, or the disk is full.
    """
    for line in describe(source):
        run.say(f"source      {line}")
    leaks = LeakReport(recipe.leaks)
    if recipe.stream is not None:
        if recipe.leaks:
            run.say("leaks       not looked for in a set that is read as it goes; captioners check RECIPE --data does")
        return _streamed(recipe, source, start, preprocess, run.directory)
    if isinstance(recipe, FinetuneRecipe) or recipe.split is not None:
        return _looked_at(recipe, source, start, preprocess, run, leaks)
    held = read_training_set(
        source,
        preprocess,
        start.tokenizer,
        start.loaded.context_length,
        profile=recipe.decode_profile,
        truncation=recipe.truncation,
        keep_files=recipe.augmentation != "none",
        max_bytes=int(recipe.memory_gb * 1e9),
        met=lambda sample: leaks.add(sample.key, sample.meta),
    )
    _say_leaks(leaks, run)
    run.write("skipped.jsonl", held.skipped)
    if problem := too_many_skipped([record["reason"] for record in held.skipped], held.read, recipe.skipped_ceiling):
        raise UserError(f"{problem}; the first: {held.skipped[0]['error']}. Mend them, or raise skipped_ceiling")
    _say_skipped(held.skipped, held.read, run)
    return held_data(recipe, held, preprocess.fit)


def _streamed(recipe: Recipe, source: Source, start: Start, preprocess: Preprocess, directory: Path) -> Data:
    stream = recipe.stream
    assert stream is not None
    shards = frozen_shards(source, directory / "shards.jsonl", recipe.captions)

    @contextmanager
    def opened(rank: int, world: int) -> Iterator[Batches]:
        name = "skipped.jsonl" if world == 1 else f"skipped-{rank}.jsonl"
        choices = Choices(
            seed=recipe.seed,
            captions=recipe.captions,
            captions_per_step=recipe.captions_per_step,
            truncation=recipe.truncation,
            augmentation=recipe.augmentation,
        )
        skipped = Skipped(directory / name, stream.most_skipped)
        with DecodePool(stream.workers, profile=recipe.decode_profile, fit=preprocess.fit) as pool:
            reader = BlockReader(source, pool, start.tokenizer, start.loaded.context_length, choices, skipped)
            with StreamBatches(
                reader,
                shards,
                recipe.batch_size,
                recipe.seed,
                rank=rank,
                world=world,
                block_shards=stream.block_shards,
                weights=weights_of(source),
            ) as batches:
                yield batches

    count = sum(entry.samples for entry in shards)
    return Data(batches=opened, images=count, captions=count, samples=count, digest=digest_of(shards))


def _looked_at(
    recipe: Recipe, source: Source, start: Start, preprocess: Preprocess, run: ReadingFor, leaks: LeakReport
) -> Data:
    files: list[bytes] = []
    wanted, room = recipe.augmentation != "none", int(recipe.memory_gb * 1e9)

    def keep(pixels: NDArray[np.uint8], file: bytes) -> None:
        nonlocal room
        store.add(pixels)
        if wanted:
            files.append(file)
            room -= len(file)
            if room < 0:
                raise UserError(
                    f"augmentation: the picture files of this set need more than {recipe.memory_gb:g} GB in memory "
                    f"({len(files):,} of them are read); raise memory_gb, or say augmentation: none"
                )

    with PixelStore(run.directory) as store:
        found = survey(
            source,
            profile=recipe.decode_profile,
            group_by=recipe.split.group_by if recipe.split else None,
            prepare=preprocess.pixels,
            keep=keep,
            met=lambda sample: leaks.add(sample.key, sample.meta),
        )
        pixels = store.rows()
    run.write("skipped.jsonl", found.skipped)
    near = near_duplicates([item.fingerprint for item in found.items]).tolist()
    _check(recipe, start, found, near, run.say)
    _say_leaks(leaks, run)
    _say_skipped(found.skipped, found.read, run)
    parts = _parts(recipe, found, near, run)
    numbers = [number for number, part in enumerate(parts) if part == "train"]
    held = _training_set(recipe, start, source, [found.items[number] for number in numbers])
    kept = [number for number, captions in zip(numbers, held.captions, strict=True) if captions]
    held.captions = [captions for captions in held.captions if captions]
    held.pixels = [] if wanted else [pixels[number] for number in kept]
    held.files = [files[number] for number in kept] if wanted else []
    held.skipped[:0] = found.skipped
    held.digest = _digest_of(found.items)
    val, test = (_held_out(found, pixels, parts, part) for part in ("val", "test"))
    return held_data(recipe, held, preprocess.fit, val, test)


def _check(recipe: Recipe, start: Start, found: Survey, near: Sequence[int], say: Say) -> None:
    facts = facts_of(found, near, start.tokenizer, start.loaded.context_length)
    if problem := facts.problem(recipe.skipped_ceiling):
        raise UserError(problem)
    for line in facts.lines(data_licence_of(recipe)):
        say(line)
    flips = recipe.augmentation != "none" and recipe.augmentation.horizontal_flip > 0
    for warning in facts.warnings(flips=flips):
        say(f"warning     {warning}")


def _say_leaks(leaks: LeakReport, run: ReadingFor) -> None:
    for line in leaks.lines():
        run.say(f"leaks       {line}")


def _say_skipped(skipped: Sequence[dict[str, str]], read: int, run: ReadingFor) -> None:
    if skipped:
        run.say(
            f"{len(skipped):,} of {read:,} samples were skipped (all in {run.directory / 'skipped.jsonl'}); "
            f"the first, {skipped[0]['reason']}: {skipped[0]['error']}"
        )


def _parts(recipe: Recipe, found: Survey, near: Sequence[int], run: ReadingFor) -> list[Part]:
    """Return each item's part, and write them all to `split.jsonl`."""
    if recipe.split is None:
        return ["train"] * len(found.items)
    groups = groups_of(found.items, near)
    parts = parts_of(groups, recipe.split)
    run.write(
        "split.jsonl",
        (
            {"shard": item.shard, "key": item.key, "sha256": item.sha256, "group": group, "part": part}
            for item, group, part in zip(found.items, groups, parts, strict=True)
        ),
    )
    if len(parts) < TOO_FEW:
        run.say(
            f"split       all {len(parts)} images are trained on: fewer than {TOO_FEW} are too few to hold some out, "
            "so nothing will say when to stop or whether it got better"
        )
    else:
        counts = ", ".join(f"{parts.count(part):,} {part}" for part in ("train", "val", "test"))
        run.say(f"split       {counts}, by {len(set(groups)):,} groups ({run.directory / 'split.jsonl'})")
    return parts


def _training_set(recipe: Recipe, start: Start, source: Source, items: Sequence[Item]) -> TrainingSet:
    """Return the items as token ids, without pictures; one without a single token keeps no captions and no key."""
    held = TrainingSet(weights=weights_of(source))
    parts = {shard.path: part_of(shard) for shard in source.shards()}
    for item in items:
        rows = []
        for text in item.captions:
            ids, cut = caption_ids(text, start.tokenizer, start.loaded.context_length, recipe.truncation)
            held.cut += cut
            held.empty += ids is None
            rows += [ids] if ids is not None else []
        held.captions.append(rows)
        if rows:
            held.keys.append(item.name)
            held.parts.append(parts[item.shard])
            continue
        error = f"{item.name}: no caption with a token in it; give it one, or leave the image out"
        held.skipped.append({"shard": item.shard, "key": item.key, "reason": "no_caption", "error": error})
    return held


def _held_out(found: Survey, pixels: NDArray[np.uint8], parts: Sequence[str], wanted: str) -> HeldOut:
    numbers = [number for number, part in enumerate(parts) if part == wanted]
    numbers.sort(key=lambda number: (found.items[number].sha256, number))
    items = [found.items[number] for number in numbers]
    return HeldOut(
        [item.name for item in items], [pixels[number] for number in numbers], [item.captions for item in items]
    )


def _digest_of(items: Iterable[Item]) -> str:
    digest = sha256()
    for item in items:
        digest.update(json.dumps([item.shard, item.key, item.sha256, item.group, *item.captions]).encode())
    return digest.hexdigest()
