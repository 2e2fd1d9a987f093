"""Shards of tiny pictures for streaming tests, and a record of what was read of them."""

from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image

from captioners.data.blocks import BlockReader, Choices
from captioners.data.frozen import Counted
from captioners.data.mixture_source import weights_of
from captioners.data.skipped import Skipped
from captioners.data.source import Sample, Shard, Unreadable
from captioners.images.fit import Fit
from captioners.images.pool import DecodePool
from captioners.text.tokenizer import ClipTokenizer
from captioners.training.stream import StreamBatches

SIZES = (5, 3, 8, 1, 4, 6, 2)
FIT = Fit(8, 8)
TOKENIZER = ClipTokenizer()


@cache
def picture(number):
    """A PNG whose colour tells its number."""
    file = BytesIO()
    pixels = np.random.Generator(np.random.Philox(number)).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Shards:
    """A source of shards of these sizes; `bad` maps (shard, index) to what is wrong; `reads` lists the shards read."""

    def __init__(self, sizes=SIZES, captions=2, bad=None, name="s"):
        self.sizes, self.captions, self.bad, self.name, self.reads = sizes, captions, bad or {}, name, []

    def shards(self, frozen=()):
        return [Shard(path=f"{self.name}{n}", size=n, stamp="", count=size) for n, size in enumerate(self.sizes)]

    def samples(self, shard, start=0):
        number = shard.size
        self.reads.append(number)
        for index in range(start, self.sizes[number]):
            key, wrong = f"{number}-{index}", self.bad.get((number, index))
            if wrong == "unreadable":
                yield Unreadable(shard=shard.path, key=key, index=index, reason="missing", error=f"{key}: is missing")
                continue
            captions = tuple(f"{self.name} {number} {index} told {c}" for c in range(self.captions))
            yield Sample(
                shard=shard.path, key=key, index=index, name=f"{self.name} {key}",
                captions=() if wrong == "no caption" else ("\x7f",) if wrong == "no token" else captions,
                image=b"no picture" if wrong == "picture" else picture(number * 100 + index),
            )  # fmt: skip


class Letters:
    """A tokenizer of few ids."""

    start_id, end_id = 1, 2

    def encode(self, text):
        return [3 + ord(letter) % 90 for letter in text if letter.isalnum()]


def counted(source):
    """Shards with counts, without a file."""
    return [Counted(shard, shard.count) for shard in source.shards()]


class Stream:
    """A stream over a source, to be used in a `with`; `choices` are those of `Choices`."""

    def __init__(
        self, source, batch_size=1, *, seed=0, rank=0, world=1, block_shards=2, workers=0, skipped=None,
        fit=FIT, tokenizer=TOKENIZER, **choices,
    ):  # fmt: skip
        self.pool = DecodePool(workers, fit=fit)
        skipped = skipped or Skipped(most=1)
        reader = BlockReader(source, self.pool, tokenizer, 12, Choices(seed=seed, **choices), skipped)
        try:
            self.batches = StreamBatches(
                reader, counted(source), batch_size, seed,
                rank=rank, world=world, block_shards=block_shards, weights=weights_of(source),
            )  # fmt: skip
        except BaseException:
            self.pool.close()
            raise

    def __enter__(self):
        return self.batches

    def __exit__(self, *_):
        self.batches.close()
        self.pool.close()


def keys(batches, steps):
    return [key for step in steps for key in batches.batch(step).keys]


def same(one, other):
    """Whether two batches are bit for bit the same."""
    return one.keys == other.keys and all(
        getattr(one, name).numpy().tobytes() == getattr(other, name).numpy().tobytes()
        for name in ("pixels", "text", "owner")
    )
