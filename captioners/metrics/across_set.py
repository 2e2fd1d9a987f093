"""Diversity across a whole set: vocabulary, novelty, entropy, compression, and captions that recur; merged exactly.

What grows with the amount of text (vocabulary, entropy, compression) is taken at a budget of words, from the images
whose keys hash lowest: the same images for every captioner. The rest is counted over the whole set.
"""

import zlib
from collections.abc import Sequence
from itertools import islice
from math import nan

import numpy as np

from captioners.core.errors import CaptionersError, UserError
from captioners.metrics.counted import HashCounts
from captioners.metrics.frequencies import LONGEST
from captioners.metrics.hashed import Batch, Hashes, mixed, text_hash
from captioners.metrics.metric import Metric
from captioners.metrics.novelty import NOVEL_CAPTIONS, NOVEL_GRAMS, Known
from captioners.metrics.packed import pack, text_of, unpack
from captioners.metrics.sampled import Sample
from captioners.metrics.self_bleu import CORPUS_MBLEU_4, corpus_mbleu, others_counts
from captioners.metrics.tokens import Words, split_all

BUDGET = 200_000
"""Words of the sample: some megabyte of text."""
CHUNK = 1 << 18
"""Bytes compressed at a time, so that the size of the text does not matter."""

_BUDGET = "at a budget of words, the same images of every set"
VOCABULARY = Metric(name="vocabulary", unit="words", better="higher", source=f"different words {_BUDGET}")
WHOLE_VOCABULARY = Metric(
    name="vocabulary of the set", unit="words", better="higher", source="different words; grows with the set"
)
ENTROPY = {
    n: Metric(
        name=f"{n}-gram entropy",
        unit="bits",
        better="higher",
        source=f"Zhang et al. 2018 (arXiv 1809.05972), plug-in estimate, {_BUDGET}",
    )
    for n in (1, 2, 4)
}
COMPRESSION = Metric(
    name="compression ratio",
    unit="bytes / byte",
    better="lower",
    source=f"Shaib et al. 2024 (arXiv 2403.00553), zlib of shuffled captions in chunks of 256 KiB, {_BUDGET}",
)
DISTINCT_CAPTIONS = Metric(
    name="unique captions of the set",
    unit="share",
    high=1,
    better="higher",
    source="different captions / captions of all images, as words; falls with the set",
)
COMMONEST = Metric(
    name="commonest caption", unit="share", high=1, better="lower", source="share of the caption said most often"
)
METRICS = (
    *(VOCABULARY, WHOLE_VOCABULARY, *ENTROPY.values(), COMPRESSION, DISTINCT_CAPTIONS, COMMONEST),
    *(CORPUS_MBLEU_4, NOVEL_GRAMS, NOVEL_CAPTIONS),
)


class AcrossSet:
    """Counts of a set of images with m captions each; add batches, merge shards, read values.

    Args:
        m: captions of an image. known: the text that novelty is measured against; without it, there is none.
        budget: words of the sample.
    """

    def __init__(self, m: int, known: Known | None = None, budget: int = BUDGET) -> None:
        self.m, self._known = m, known
        self.images = 0
        self.words = 0
        self._captions, self._vocabulary = HashCounts(), HashCounts()
        self._bleu = np.zeros((m, 2 * LONGEST + 2), dtype=np.int64)
        self._novel = np.zeros(4, dtype=np.int64)
        """Novel n-grams, n-grams, novel captions, captions."""
        self._novel_of = known.digest if known else ""
        self._sample = Sample(budget, "words")

    def add(self, captions: Sequence[Sequence[str]], keys: Sequence[str], batch: Batch | None = None) -> None:
        """Add images, in no matter which order.

        Args:
            keys: what each image is called, once in the whole set (such as shard and key); the same for all captioners.
            batch: of these captions, where it is made already.

        Raises:
            UserError: not m captions of each.
        """
        if len(keys) != len(captions):
            raise CaptionersError(f"{len(captions)} images have {len(keys)} keys")
        if not len(captions):
            return
        if self._novel_of and not self._known:
            raise CaptionersError("counts that were read have no text to measure novelty against; merge instead")
        batch = batch or Batch.of(captions)
        if batch.m != self.m:
            raise UserError(f"a set of {self.m} captions an image: these images have {batch.m}")
        self.images += batch.images
        self.words += len(batch.words)
        self._captions.add(batch.caption_hashes.ravel())
        self._vocabulary.add(batch.words)
        self._bleu += others_counts(batch).sum(axis=0)
        if self._known:
            self._novel += self._known.novel(batch)
        for key, of_image in zip(keys, captions, strict=True):
            self._sample.add(key, of_image)

    def merge(self, other: "AcrossSet") -> None:
        """Take in other images of the same captioner.

        Raises:
            CaptionersError: another m, budget or text that novelty is measured against.
        """
        if (self.m, self._novel_of) != (other.m, other._novel_of):
            raise CaptionersError("these counts were made at another m or against another text; they don't add up")
        self.images += other.images
        self.words += other.words
        self._captions.merge(other._captions)
        self._vocabulary.merge(other._vocabulary)
        self._bleu += other._bleu
        self._novel += other._novel
        self._sample.merge(other._sample)

    def values(self, budget: int | None = None) -> dict[Metric, float]:
        """Return all metrics of the set; nan where one is undefined.

        Args:
            budget: words that vocabulary, entropy and compression are taken at: for a comparison, the `words` of the
                smallest set, where that is less than the sample's. A set with fewer has nan there. None: the sample's
                budget, or all of a smaller set.
        """
        total = self.images * self.m
        found: dict[Metric, float] = {WHOLE_VOCABULARY: float(len(self._vocabulary.hashes()))}
        times = self._captions.counts()
        found[DISTINCT_CAPTIONS] = len(times) / total if total else nan
        found[COMMONEST] = float(times.max()) / total if total else nan
        found[CORPUS_MBLEU_4] = corpus_mbleu(self._bleu) if self.m > 1 else nan
        if self._novel_of:
            grams, all_grams, captions, all_captions = map(int, self._novel)
            found[NOVEL_GRAMS] = grams / all_grams if all_grams else nan
            found[NOVEL_CAPTIONS] = captions / all_captions if all_captions else nan
        found |= self._of_sample(self._some(budget))
        return {metric: metric.checked(found[metric]) for metric in METRICS if metric in found}

    def vocabulary(self, budget: int | None = None) -> Hashes:
        """Return the hashes of the different words of the sample, sorted, at a budget as in `values`, [V]."""
        return np.unique(Batch.of_words([[caption] for caption in self._some(budget)]).words)

    def _of_sample(self, captions: Sequence[Words]) -> dict[Metric, float]:
        if not captions:
            return dict.fromkeys((VOCABULARY, *ENTROPY.values(), COMPRESSION), nan)
        batch = Batch.of_words([[caption] for caption in captions])
        found = {VOCABULARY: float(len(np.unique(batch.words)))}
        found |= {metric: entropy(batch.gram_hashes(n)[0]) for n, metric in ENTROPY.items()}
        return {**found, COMPRESSION: compression_ratio(captions)}

    def _some(self, budget: int | None) -> list[Words]:
        """Return so many words of the sample's first images, their captions shuffled by keys; none if it has fewer."""
        limit = min(self.words, self._sample.limit) if budget is None else budget
        if limit > self._sample.limit:
            raise UserError(f"a budget of {limit:,} words: the sample has {self._sample.limit:,}; ask for fewer")
        every: list[Words] = []
        lots: list[Hashes] = []
        total = 0
        for key, captions in self._sample.items():
            if total >= limit:
                break
            split = split_all(captions)
            every += split
            lots.append(text_hash(key) + np.arange(len(split), dtype=np.uint64))
            total += sum(map(len, split))
        if total < limit or not limit:
            return []
        found, left = [], limit
        for place in np.argsort(mixed(np.concatenate(lots)), kind="stable").tolist():
            found.append(every[place][:left])
            left -= len(found[-1])
            if not left:
                break
        return found

    def to_bytes(self) -> bytes:
        """Return it as an npz file: the same counts give the same bytes."""
        texts = [text for key, captions in self._sample.items() for text in (key, *captions)]
        return pack(
            {
                "numbers": [self.m, self.images, self.words, self._sample.limit],
                "captions": self._captions.hashes(),
                "caption_counts": self._captions.counts(),
                "vocabulary": self._vocabulary.hashes(),
                "word_counts": self._vocabulary.counts(),
                "bleu": self._bleu,
                "novel": self._novel,
                "novel_of": self._novel_of,
                "texts": "".join(texts),
                "sizes": np.array(list(map(len, texts)), dtype=np.int64),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "AcrossSet":
        """Read what `to_bytes` gave; it can be merged and read, and no longer be added to where novelty is measured.

        Raises:
            UserError: it is no such file.
        """
        counts = ("captions", "caption_counts", "vocabulary", "word_counts", "bleu", "novel")
        read = unpack(data, "counts of a set", "numbers", *counts, "novel_of", "texts", "sizes")
        m, images, total, limit = map(int, read["numbers"])
        found = cls(m, budget=limit)
        found.images, found.words = images, total
        found._captions = HashCounts(read["captions"], read["caption_counts"])
        found._vocabulary = HashCounts(read["vocabulary"], read["word_counts"])
        found._bleu, found._novel = read["bleu"], read["novel"]
        found._novel_of, text = text_of(read["novel_of"]), text_of(read["texts"])
        ends = np.cumsum(read["sizes"])
        texts = iter([text[end - size : end] for end, size in zip(ends, read["sizes"], strict=True)])
        for key in texts:
            found._sample.add(key, list(islice(texts, m)))
        return found


def entropy(hashes: Hashes) -> float:
    """Return the entropy of n-grams, in bits (plug-in estimate); nan without one."""
    if not len(hashes):
        return nan
    shares = np.unique(hashes, return_counts=True)[1] / len(hashes)
    return float(max(0.0, -(shares * np.log2(shares)).sum()))


def compression_ratio(captions: Sequence[Words]) -> float:
    """Return bytes / compressed bytes of captions, a line each, in chunks; a rest is left out beside a whole chunk.

    Other builds of zlib compress a little otherwise: numbers of two machines may differ in the third figure.
    """
    text = "\n".join(map(" ".join, captions)).encode("utf-8", "surrogatepass")
    whole = len(text) // CHUNK * CHUNK or len(text)
    packed = sum(len(zlib.compress(text[start : start + CHUNK], 6)) for start in range(0, whole, CHUNK))
    return whole / packed if packed else nan
