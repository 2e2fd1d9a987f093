"""The images that captioners are compared on, and where they come from: the packaged photos, a path, or any source."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256

from PIL import Image

from captioners.core.errors import UserError
from captioners.core.package_data import SAMPLES
from captioners.data.given import given_source
from captioners.data.source import Sample, SourceOptions
from captioners.images.decode import read_image

MOST_READ = 20_000
"""Samples that are looked at before the first are chosen; of a larger set, whole shards chosen by hash are read."""


@dataclass(frozen=True, kw_only=True)
class ComparedImage:
    """One image and what people wrote of it."""

    key: str
    image: bytes | Image.Image
    """A file's bytes, or a picture."""
    references: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Images of a source, chosen by a hash of shard and key."""

    images: list[ComparedImage]
    """In the order of the hash, which knows nothing of what is on them; keys are unique."""
    about: str
    """One line: what was recognised, and how many of how many were taken."""
    skipped: list[str] = field(default_factory=list)
    """What the source could not hand out, each with its reason."""


def general_images() -> list[ComparedImage]:
    """Return the packaged photos: a fixed set of the world at large, without references."""
    return [ComparedImage(key=path.stem, image=path.read_bytes()) for path in sorted(SAMPLES.glob("*.jpg"))]


def choose_images(data: str | None, count: int, seed: int = 0) -> Chosen:
    """Return up to `count` images of what `data` means.

    Args:
        data: a path that `data.recognise` knows, the name of a source that needs nothing more (`drawn`), or a source
            written out as in a recipe, such as `{kind: drawn, voice: short}`; None: the packaged photos.
        count: images at most. seed: another one chooses others.

    Raises:
        NotFoundError, UserError: nothing is there, it can be read in two ways, or holds no sample that can be read.
    """
    if data is None:
        images = general_images()[:count]
        return Chosen(images=images, about=f"{len(images)} packaged photos, which have no references")
    options, said = given_source(data, "--data")
    found: list[tuple[str, Sample]] = []
    skipped: list[str] = []
    read = 0
    for sample in _samples(options, seed):
        read += 1
        if isinstance(sample, str):
            skipped.append(sample)
            continue
        found.append((_hash(seed, sample.shard, sample.key), sample))
        if len(found) > 2 * count:  # so that no more than a few times `count` images are held
            found = _first(found, count)
    chosen = [sample for _, sample in _first(found, count)]
    if not chosen:
        raise UserError(f"{data}: not one of {read:,} samples can be read ({(skipped or ['it is empty'])[0]})")
    part = f", {len(chosen):,} of the {read:,} read, chosen by hash" if len(chosen) < read - len(skipped) else ""
    return Chosen(images=_images(chosen), about=said + part, skipped=skipped)


def opened(sample: ComparedImage) -> tuple[Image.Image, str]:
    """Return a sample's picture in RGB and the digest of its random streams; raise ImageError as `read_image` does."""
    if isinstance(sample.image, bytes):
        picture = read_image(sample.image, name=sample.key)
        return picture.image, picture.sha256
    image = sample.image.convert("RGB")
    return image, sha256(repr(image.size).encode() + image.tobytes()).hexdigest()


def _samples(options: SourceOptions, seed: int) -> Iterator[Sample | str]:
    """Yield samples, and a line for each that cannot be read; the shards in order of a hash, at most `MOST_READ`."""
    source = options.open()
    left = MOST_READ
    for shard in sorted(source.shards(), key=lambda shard: _hash(seed, shard.path)):
        for sample in source.samples(shard):
            yield sample if isinstance(sample, Sample) else sample.error
            left -= 1
        if left <= 0:
            return


def _hash(seed: int, *names: str) -> str:
    return sha256("\x1f".join((str(seed), *names)).encode()).hexdigest()


def _first(found: list[tuple[str, Sample]], count: int) -> list[tuple[str, Sample]]:
    return sorted(found, key=lambda one: one[0])[:count]


def _images(samples: list[Sample]) -> list[ComparedImage]:
    times = Counter(sample.key for sample in samples)
    made = [
        ComparedImage(key=one.key, image=one.image, references=tuple(text for text in one.captions if text.strip()))
        for one in samples
    ]
    return [
        image if times[image.key] == 1 else replace(image, key=f"{sample.shard}:{image.key}")
        for image, sample in zip(made, samples, strict=True)
    ]
