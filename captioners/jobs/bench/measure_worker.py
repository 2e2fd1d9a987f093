"""One process of `captioners bench measure`: captions are made up shard by shard, measured, and added up."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from captioners.core.seeds import uniforms
from captioners.metrics.across_set import AcrossSet
from captioners.metrics.against_references import Against
from captioners.metrics.degenerate import flag_shares
from captioners.metrics.frequencies import HashedFrequencies
from captioners.metrics.hashed import Batch
from captioners.metrics.references import CIDER_D, ROUGE_L
from captioners.metrics.streaming import Sums, WithinImage

SHARD = 5000
"""Images made up at a time."""
_BATCH = 800
_WORDS, _TOPIC, _OWN = 20_000, 12, 0.6
_SHORTEST, _LONGEST = 7, 14


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one process measures."""

    folder: str
    """Where the table lies and the sums go."""
    rank: int
    workers: int
    images: int
    """Of all processes."""
    m: int
    references: int
    """Of each image; 0: none."""


@dataclass
class Measured:
    """What it took."""

    images: int = 0
    captions: int = 0
    words: int = 0
    making: float = 0.0
    """Seconds of making captions up, which are no part of measuring."""
    within: float = 0.0
    across: float = 0.0
    references: float = 0.0
    processor: float = 0.0
    """Processor seconds of measuring, in which others' work on the machine does not count."""
    peak: int = 0
    """Bytes of this process, at most."""
    bleu: list[int] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds of measuring."""
        return self.within + self.across + self.references


def made_up(start: int, images: int, m: int) -> list[list[str]]:
    """Return m captions of each image, 7 to 14 words, the same for the same place in the set.

    Words come up as Zipf's law says; most of an image's are of a dozen of its own, so that captions overlap.
    """
    ranks = np.cumsum(1 / np.arange(2, _WORDS + 2))
    topics = np.searchsorted(ranks / ranks[-1], uniforms(images * _TOPIC, "topic", start)).reshape(images, _TOPIC)
    count = images * m * _LONGEST
    own = (uniforms(count, "own", start) * _TOPIC).astype(np.int64).reshape(images, -1)
    any_word = np.searchsorted(ranks / ranks[-1], uniforms(count, "any", start)).reshape(images, -1)
    chosen = uniforms(count, "which", start).reshape(images, -1) < _OWN
    words = np.where(chosen, np.take_along_axis(topics, own, axis=1), any_word).reshape(images, m, _LONGEST)
    spread = _LONGEST - _SHORTEST + 1
    lengths = (_SHORTEST + uniforms(images * m, "length", start) * spread).astype(np.int64).reshape(images, m)
    spelled = [f"w{number}" for number in range(_WORDS + 1)]
    return [
        [" ".join([spelled[word] for word in row[:length]]) for row, length in zip(rows.tolist(), sizes, strict=True)]
        for rows, sizes in zip(words, lengths.tolist(), strict=True)
    ]


def work(part: Part) -> Measured:
    """Measure every `workers`-th shard and write the sums; return what it took."""
    folder = Path(part.folder)
    df = HashedFrequencies.from_bytes((folder / "frequencies.npz").read_bytes())
    within, sums, across, found = WithinImage(part.m, df), Sums(), AcrossSet(part.m), Measured()
    bleu = np.zeros(10, dtype=np.int64)
    for start in range(part.rank * SHARD, part.images, part.workers * SHARD):
        count = min(SHARD, part.images - start)
        began = time.perf_counter()
        texts = made_up(start, count, part.m + part.references)
        found.making += time.perf_counter() - began
        for first in range(0, count, _BATCH):
            captions = [of_image[: part.m] for of_image in texts[first : first + _BATCH]]
            keys = [f"{start + first + place:09d}" for place in range(len(captions))]
            marks, busy = [time.perf_counter()], time.process_time()
            batch = Batch.of(captions)
            sums.add(within.values(batch))
            sums.add(flag_shares([[()] * part.m] * len(captions)))
            marks.append(time.perf_counter())
            across.add(captions, keys, batch)
            marks.append(time.perf_counter())
            if part.references:
                against = [of_image[part.m :] for of_image in texts[first : first + _BATCH]]
                scored = Against(batch, against)
                sums.add({CIDER_D: scored.cider_d(df).mean(axis=1), ROUGE_L: scored.rouge_l().mean(axis=1)})
                bleu += scored.bleu_counts().sum(axis=(0, 1))
            marks.append(time.perf_counter())
            found.processor += time.process_time() - busy
            found.within += marks[1] - marks[0]
            found.across += marks[2] - marks[1]
            found.references += marks[3] - marks[2]
            found.words += len(batch.words)
        found.images += count
        found.captions += count * part.m
    (folder / f"sums-{part.rank}.npz").write_bytes(sums.to_bytes())
    (folder / f"across-{part.rank}.npz").write_bytes(across.to_bytes())
    found.bleu = bleu.tolist()
    found.peak = peak_memory()
    return found


def peak_memory() -> int:
    """Return the bytes that this process held at most, as Linux tells it (`getrusage` would count its parent's)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main(options: str) -> None:
    """Work as a program: options as JSON, and the answer as JSON on the last line."""
    print(json.dumps(asdict(work(Part(**json.loads(options))))))  # noqa: T201  # it is the answer
