"""Read a whole training set into memory: pictures at a captioner's size, captions as token ids, and what failed."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import ImageError, UserError
from captioners.data.mixture_source import part_of, weights_of
from captioners.data.source import Sample, Source, Unreadable, all_samples, in_chunks
from captioners.images.decode import Profile, read_image
from captioners.images.preprocess import Preprocess
from captioners.text.tokenizer import Tokenizer
from captioners.text.truncate import Truncation, caption_ids

_DECODERS = 4


@dataclass
class TrainingSet:
    """A set in memory, and what was left out of it."""

    keys: list[str] = field(default_factory=list)
    pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    """[3, H, W] each; empty where files are held."""
    files: list[bytes] = field(default_factory=list)
    """The pictures as they came, if they are decoded anew each time."""
    captions: list[list[NDArray[np.int32]]] = field(default_factory=list)
    """Of each image at least one: start, content cut to the context, end."""
    parts: list[int] = field(default_factory=list)
    """Of each image, which part of a mixture it is of; empty where there is but one."""
    weights: tuple[int, ...] = (1,)
    """Of the parts."""
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


def read_training_set(  # noqa: PLR0913  # what a recipe says of how pictures and captions are read
    source: Source,
    preprocess: Preprocess,
    tokenizer: Tokenizer,
    context_length: int,
    *,
    profile: Profile = "upright",
    truncation: Truncation = "token",
    keep_files: bool = False,
    max_bytes: int = 4 << 30,
    met: Callable[[Sample], None] = lambda _: None,
    seen: Callable[[int], None] = lambda _: None,
) -> TrainingSet:
    """Read a whole source into memory; `met` is handed each sample, `seen` told how many there were, now and then.

    A sample that cannot be read is skipped with its reason and stops nothing. With `keep_files`, pictures are held as
    files, for an augmentation. The set depends on the source alone.

    Raises:
        UserError: nothing usable is in the source, or its pictures need more than `max_bytes`.
    """
    held, digest = TrainingSet(weights=weights_of(source)), sha256()
    parts = {shard.path: part_of(shard) for shard in source.shards()}
    size = 0
    with ThreadPoolExecutor(_DECODERS) as pool:  # Pillow decodes and resizes outside the interpreter's lock
        for chunk in in_chunks(all_samples(source)):
            decoded = pool.map(lambda found: _pixels(found, preprocess, profile), chunk)
            for found, pixels in zip(chunk, decoded, strict=True):
                captions = _captions(held, found, tokenizer, context_length, truncation)
                size += _add(held, found, pixels, captions, keep_files, parts[found.shard])
                if isinstance(found, Sample):
                    met(found)
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
    for found in all_samples(source):
        if isinstance(found, Sample):
            yield from found.captions


def _pixels(
    found: Sample | Unreadable, preprocess: Preprocess, profile: Profile
) -> NDArray[np.uint8] | ImageError | None:
    if isinstance(found, Unreadable) or not found.captions:
        return None
    try:
        return preprocess.pixels(read_image(found.image, profile, name=found.name or found.key).image)
    except ImageError as error:
        return error


def _captions(
    held: TrainingSet,
    found: Sample | Unreadable,
    tokenizer: Tokenizer,
    context_length: int,
    truncation: Truncation,
) -> list[NDArray[np.int32]]:
    several = []
    for text in found.captions if isinstance(found, Sample) else ():
        ids, cut = caption_ids(text, tokenizer, context_length, truncation)
        held.cut += cut
        held.empty += ids is None
        if ids is not None:
            several.append(ids)
    return several


def _add(
    held: TrainingSet,
    found: Sample | Unreadable,
    pixels: NDArray[np.uint8] | ImageError | None,
    captions: list[NDArray[np.int32]],
    keep_files: bool,
    part: int,
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
    if not captions or pixels is None:
        return skip("no_caption", f"{name}: no caption with text in it; give it one, or leave the image out")
    held.keys.append(name)
    held.captions.append(captions)
    held.parts.append(part)
    if keep_files:
        held.files.append(found.image)
        return len(found.image)
    held.pixels.append(pixels)
    return pixels.nbytes
