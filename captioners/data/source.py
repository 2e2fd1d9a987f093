"""The interface of a source: shards of samples, frozen before a run and streamed in a fixed order.

A source knows files and formats, no pixels: images stay bytes. What cannot be read is yielded as `Unreadable`, in its
place, and never raised; only failing infrastructure (a lost disk, a refused permission) raises.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, Protocol

from captioners.core.options import Options, operation
from captioners.core.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A file of samples, or a run of 1,000 of them in a folder or a JSONL file (a virtual shard)."""

    path: str
    """Relative to the input root, with '/'; unique in the source. Virtual: 'NAME#00003'."""
    size: int
    """Bytes of the file; of its run of lines, or of all its pictures, for a virtual shard."""
    stamp: str
    """What changes when the content may have changed: mtime in ns, an etag, a digest."""
    count: int | None = None
    """Samples, if they are known without reading the shard."""
    where: dict[str, Any] = field(default_factory=dict)
    """What the source needs to find it again (JSON-able)."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image with what came with it."""

    shard: str
    key: str
    index: int
    """Its place in the shard, from 0; `Unreadable` ones count, too."""
    image: bytes
    captions: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    offset: int | None = None
    """Where the image's bytes begin in the shard's file; None where they are a file of their own or base64."""
    name: str = ""
    """What messages call it: 'shards/00003.tar: 0017.jpg'."""


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A sample that a source could not hand out, or the rest of a shard that it could not reach."""

    shard: str
    key: str
    """Empty when the fault is the shard's and not one sample's."""
    index: int
    reason: str
    """A short word. Of a shard: empty, not_a_tar, cut_tar. Of a sample: no_image, missing, empty, too_large,
    unreadable, unsafe_name, duplicate_key, dotted_key, bad_caption, not_utf8, not_json, bad_line, no_uid."""
    error: str
    """One line: what, where, what to do."""
    offset: int | None = None
    """Where in the file the fault is, if the file has offsets."""


class Source(Protocol):
    """Shards of samples; made from its own options."""

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return all shards in order: those already `frozen` first and unchanged, then what was added since.

        Raises:
            NotFoundError: nothing is there. UserError: a frozen shard is gone or has changed.
        """

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its sample number `start`; the same shard gives the same samples, keys and indices."""

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:
        """Return the bytes of one image without reading its shard, as `show` and `report` need them.

        `key`, `offset` and `size` are what a layer's row says. Raises NotFoundError if it is not there any more;
        whether the bytes are still the same ones, only the row's sha256 can tell.
        """


class SourceOptions(Options):
    """What a recipe says under `source:`; each source has its own, told apart by `kind`."""

    card: str | None = operation(None)
    """The data card (`captioners list data-cards`) whose licences the data has; default: the kind's own, if any."""
    licence: str | None = operation(None, min_length=1)
    """The licence of images and captions, where no card says it; it goes onto the captioner's card."""
    commercial_use: Literal["yes", "no", "unknown"] | None = operation(None)
    """Whether the data may be used commercially; default: what the card says, else unknown."""

    def own_card(self) -> str | None:
        """Return the name of the data card of what these options read, where they cannot but mean one dataset."""
        return None

    @abstractmethod
    def open(self) -> Source:
        """Return the source that these options mean."""


def describe(source: Source) -> tuple[str, ...]:
    """Return what a source has to tell a person before anything is read: counts, what was left out and why.

    A source says it by a method `describe() -> tuple[str, ...]`; one without has nothing to tell.
    """
    told = getattr(source, "describe", None)
    return tuple(told()) if told is not None else ()


def unstamped(source: Source, shard: Shard) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (key, captions) of a shard whose stamp does not cover its captions; nothing of any other.

    A source says them, without reading a picture, by a method `unstamped(shard)`.
    """
    told = getattr(source, "unstamped", None)
    if told is not None:
        yield from told(shard)


sources: Registry[type[SourceOptions]] = Registry("source", package="captioners.data", suffix="_source")
"""Options of each source, filed by `@sources.register(kind)` in `data/<kind>_source.py`, which is torch-free."""


def all_samples(source: Source) -> Iterator[Sample | Unreadable]:
    """Yield every sample of a source, shard after shard."""
    for shard in source.shards():
        yield from source.samples(shard)


def in_chunks(samples: Iterable[Sample | Unreadable], size: int = 256) -> Iterator[Sequence[Sample | Unreadable]]:
    """Yield samples in lists of `size`, the last one shorter: what is decoded side by side."""
    samples = iter(samples)
    while chunk := list(islice(samples, size)):
        yield chunk
