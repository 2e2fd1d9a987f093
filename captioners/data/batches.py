"""Training batches as a function of position: (seed, epoch, number) says which sample, whatever came before.

So a stopped run continues by counting, and no shuffle buffer or generator has a state to save. A set is read once:
pictures decoded, resized and kept as uint8, captions kept as token ids. (What does not fit in memory is refused here;
another `Batches` may stream it.)
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioners.core.errors import ImageError, UserError
from captioners.core.seeds import permutation, uniforms
from captioners.data.choices import Captions
from captioners.data.source import Sample, Source, Unreadable
from captioners.images.decode import Profile, read_image
from captioners.images.preprocess import Preprocess
from captioners.text.tokenizer import Tokenizer

_DECODERS = 4
_AT_ONCE = 256


@dataclass(frozen=True)
class Batch:
    """Samples of one step."""

    keys: tuple[str, ...]
    """What messages call them."""
    pixels: Tensor
    """uint8 [B, 3, H, W]."""
    text: Tensor
    """int64 [R, longest of the batch]: start, content, end, then 0; several rows may belong to one image."""
    owner: Tensor | None = None
    """int64 [R] on the CPU, non-decreasing: caption r was written of image owner[r]; None: R = B, one each."""
    images: Tensor | None = None
    """int64 [B]: the images' numbers in the set, for cached features; None when there is no such number."""


class Batches(Protocol):
    """What a training loop reads: batch number `step` of a run, from 0, without end."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step; asking in another order, or twice, changes nothing."""


@dataclass
class TrainingSet:
    """A set in memory, and what was left out of it."""

    keys: list[str] = field(default_factory=list)
    pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    """[3, H, W] each."""
    captions: list[list[NDArray[np.int32]]] = field(default_factory=list)
    """Of each image at least one: start, content cut to the context, end."""
    skipped: list[dict[str, str]] = field(default_factory=list)
    """Shard, key, reason and error of what could not be read."""
    cut: int = 0
    """Captions that were longer than the context."""
    empty: int = 0
    """Captions without a token, left out; an image that has no other is skipped."""
    digest: str = ""
    """sha256 over keys, image bytes and captions, in order: whether a run goes on with what it began with."""

    @property
    def num_captions(self) -> int:
        """Captions of all images."""
        return sum(map(len, self.captions))

    @property
    def read(self) -> int:
        """Samples met: those held and those skipped."""
        return len(self.keys) + len(self.skipped)


def read_training_set(
    source: Source,
    preprocess: Preprocess,
    tokenizer: Tokenizer,
    context_length: int,
    *,
    profile: Profile = "upright",
    max_bytes: int = 4 << 30,
    seen: Callable[[int], None] = lambda _: None,
) -> TrainingSet:
    """Read a whole source into memory; `seen` is told the number of samples met, now and then.

    A sample that cannot be read is skipped with its reason and stops nothing. The set depends on the source alone.

    Raises:
        UserError: nothing usable is in the source, or its pictures need more than `max_bytes`.
    """
    held, digest = TrainingSet(), sha256()
    size = 0
    with ThreadPoolExecutor(_DECODERS) as pool:  # Pillow decodes and resizes outside the interpreter's lock
        for chunk in _chunks(_samples(source)):
            decoded = pool.map(lambda found: _pixels(found, preprocess, profile), chunk)
            for found, pixels in zip(chunk, decoded, strict=True):
                size += _add(held, found, pixels, tokenizer, context_length)
                if isinstance(found, Sample):
                    record = [found.shard, found.key, sha256(found.image).hexdigest(), *found.captions]
                    digest.update(json.dumps(record).encode())
            if size > max_bytes:
                raise UserError(
                    f"the pictures of this set need more than {max_bytes / 1e9:.1f} GB in memory "
                    f"({len(held.keys):,} of them are read); raise memory_gb, or train on fewer"
                )
            seen(held.read)
    if not held.keys:
        first = f"; the first: {held.skipped[0]['error']}" if held.skipped else ""
        raise UserError(f"the source holds no picture with a caption ({len(held.skipped):,} samples skipped{first})")
    held.digest = digest.hexdigest()
    return held


def captions_of(source: Source) -> Iterator[str]:
    """Yield every caption of a source, in order, for a tokenizer to be trained on."""
    for found in _samples(source):
        if isinstance(found, Sample):
            yield from found.captions


class MemoryBatches:
    """Batches of a set in memory: every epoch in an order of its own, epochs end to end, no sample left over."""

    def __init__(self, held: TrainingSet, batch_size: int, seed: int, captions: Captions = "random_per_image") -> None:
        self._held, self._seed = held, seed
        self.batch_size = batch_size
        counts = np.array([len(several) for several in held.captions])
        self._counts = counts
        self._random = captions == "random_per_image"
        if captions == "per_caption":
            self._images = np.repeat(np.arange(len(counts)), counts)
            self._choices = np.arange(len(self._images)) - np.repeat(np.cumsum(counts) - counts, counts)
        else:
            self._images, self._choices = np.arange(len(counts)), np.zeros(len(counts), dtype=np.int64)
        self._orders: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        """Return the samples of an epoch: images, or captions with `per_caption`."""
        return len(self._images)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, from 0."""
        chosen = [self._chosen(at) for at in range(step * self.batch_size, (step + 1) * self.batch_size)]
        tokens = [self._held.captions[image][choice] for image, choice in chosen]
        text = np.zeros((len(tokens), max(map(len, tokens))), dtype=np.int64)
        for row, ids in zip(text, tokens, strict=True):
            row[: len(ids)] = ids
        return Batch(
            tuple(self._held.keys[image] for image, _ in chosen),
            torch.from_numpy(np.stack([self._held.pixels[image] for image, _ in chosen])),
            torch.from_numpy(text),
        )

    def _chosen(self, at: int) -> tuple[int, int]:
        """Return (image, which of its captions) of the run's sample number `at`."""
        epoch, number = divmod(at, len(self))
        order, choices = self._order(epoch)
        item = order[number]
        return int(self._images[item]), int(choices[item])

    def _order(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if epoch not in self._orders:
            choices = self._choices
            if self._random:
                drawn = uniforms(len(self), "caption", self._seed, epoch)
                choices = (drawn * self._counts).astype(np.int64)
            # A batch across the seam of two epochs needs both; older ones are not asked for again.
            self._orders = {number: kept for number, kept in self._orders.items() if abs(number - epoch) == 1}
            self._orders[epoch] = permutation(len(self), "order", self._seed, epoch), choices
        return self._orders[epoch]


def _samples(source: Source) -> Iterator[Sample | Unreadable]:
    for shard in source.shards():
        yield from source.samples(shard)


def _chunks(samples: Iterable[Sample | Unreadable]) -> Iterator[Sequence[Sample | Unreadable]]:
    samples = iter(samples)
    while chunk := list(islice(samples, _AT_ONCE)):
        yield chunk


def _pixels(
    found: Sample | Unreadable, preprocess: Preprocess, profile: Profile
) -> NDArray[np.uint8] | ImageError | None:
    if isinstance(found, Unreadable) or not found.captions:
        return None
    try:
        return preprocess.pixels(read_image(found.image, profile, name=found.name or found.key).image)
    except ImageError as error:
        return error


def _add(
    held: TrainingSet,
    found: Sample | Unreadable,
    pixels: NDArray[np.uint8] | ImageError | None,
    tokenizer: Tokenizer,
    context_length: int,
) -> int:
    """Take one sample in, or note why not; return the bytes it takes."""

    def skip(reason: str, error: str) -> int:
        held.skipped.append({"shard": found.shard, "key": found.key, "reason": reason, "error": error})
        return 0

    if isinstance(found, Unreadable):
        return skip(found.reason, found.error)
    name = found.name or f"{found.shard}: {found.key}"
    if isinstance(pixels, ImageError):
        return skip(pixels.reason, str(pixels))
    several = []
    for text in found.captions:
        ids = tokenizer.encode(text)
        held.cut += len(ids) > context_length - 2
        held.empty += not ids
        if ids:
            whole = [tokenizer.start_id, *ids[: context_length - 2], tokenizer.end_id]
            several.append(np.array(whole, dtype=np.int32))
    if not several or pixels is None:
        return skip("no_caption", f"{name}: no caption with text in it; give it one, or leave the image out")
    held.keys.append(name)
    held.pixels.append(pixels)
    held.captions.append(several)
    return pixels.nbytes
