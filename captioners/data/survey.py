"""One look at every sample of a set before it is trained on: what can be read, what it says, what it looks like.

Each picture is decoded once, here, and whoever trains takes its pixels on the way: a check, a split and a training set
cost one reading between them.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioners.core.errors import ImageError
from captioners.data.duplicates import Fingerprint, fingerprint
from captioners.data.source import Sample, Source, Unreadable, all_samples, in_chunks
from captioners.data.texts import field_of
from captioners.images.decode import Profile, read_image
from captioners.images.formats import extension_of

_DECODERS = 4

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A sample that can be trained on."""

    shard: str
    key: str
    name: str
    """What messages call it."""
    sha256: str
    """Of the image's bytes."""
    captions: tuple[str, ...]
    """At least one, none of them blank."""
    fingerprint: Fingerprint
    format: str
    """jpg, png, ...: by its first bytes."""
    pixels: int
    """Width x height."""
    group: str | None = None
    """The value of the field that the set is grouped by; None where a sample has none."""


@dataclass
class Survey:
    """What was met, in the order of the source."""

    items: list[Item] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    """Shard, key, reason and error of what cannot be trained on."""

    @property
    def read(self) -> int:
        """Samples met."""
        return len(self.items) + len(self.skipped)


def survey(
    source: Source,
    *,
    profile: Profile = "upright",
    group_by: str | None = None,
    prepare: Callable[[Image.Image], Pixels] | None = None,
    keep: Callable[[Pixels, bytes], None] = lambda *_: None,
    met: Callable[[Sample], None] = lambda _: None,
    seen: Callable[[int], None] = lambda _: None,
) -> Survey:
    """Look at every sample of a source; what cannot be read or says nothing is skipped with its reason.

    Args:
        source: what is read, once and in order.
        profile: how pictures are decoded.
        group_by: a field of the samples' meta (with dots, one inside another) that says what belongs together.
        prepare: makes of a decoded picture what `keep` is handed with the file's bytes, in the order of the items.
        met: handed each sample that the source could hand out.
        seen: told the number of samples met, now and then.
    """
    found = Survey()
    with ThreadPoolExecutor(_DECODERS) as pool:  # Pillow decodes outside the interpreter's lock
        for chunk in in_chunks(all_samples(source)):
            looked = pool.map(lambda sample: _look(sample, profile, group_by, prepare), chunk)
            for sample, (item, pixels, reason, error) in zip(chunk, looked, strict=True):
                if isinstance(sample, Sample):
                    met(sample)
                if item is None:
                    found.skipped.append({"shard": sample.shard, "key": sample.key, "reason": reason, "error": error})
                    continue
                found.items.append(item)
                if pixels is not None and isinstance(sample, Sample):
                    keep(pixels, sample.image)
            seen(found.read)
    return found


def _look(
    sample: Sample | Unreadable, profile: Profile, group_by: str | None, prepare: Callable[[Image.Image], Pixels] | None
) -> tuple[Item | None, Pixels | None, str, str]:
    """Return the item and its pixels, or why there is none: a reason and a line."""
    if isinstance(sample, Unreadable):
        return None, None, sample.reason, sample.error
    name = sample.name or f"{sample.shard}: {sample.key}"
    if not any(text.strip() for text in sample.captions):
        return None, None, "no_caption", f"{name}: no caption with text in it; give it one, or leave the image out"
    try:
        image = read_image(sample.image, profile, name=name).image
        pixels = prepare(image) if prepare else None
    except ImageError as error:
        return None, None, error.reason, str(error)
    value = field_of(sample.meta, group_by) if group_by else None
    item = Item(
        shard=sample.shard,
        key=sample.key,
        name=name,
        sha256=sha256(sample.image).hexdigest(),
        captions=tuple(text for text in sample.captions if text.strip()),
        fingerprint=fingerprint(image),
        format=extension_of(sample.image) or "unknown",
        pixels=image.width * image.height,
        group=None if value is None else str(value),
    )
    return item, pixels, "", ""
