"""The same metrics, one image at a time, by plain counting: slow, obvious, and independent of the arrays."""

from collections import Counter
from itertools import combinations
from math import exp, log, nan, sqrt

import numpy as np

from captioners.metrics.tokens import grams, words

T5 = [
    "a red circle above a blue square",
    "a red circle over a blue square",
    "a blue square below a red circle",
    "the red circle is on top of the square",
    "a red circle above a blue square",
]
"""37 words, 32 bigrams, of them 13 and 17 different, counted by hand."""
TRIANGLES = ["two green triangles", "two small green triangles side by side", "a pair of green triangles"]
STARS = ["a large yellow star", "one big yellow star"]
SQUARES = ["three red squares in a row", "a row of three red squares", "red squares"]


def corpus(images, m, seed=0, longest=14, letters=7):
    """Random captions of few words, some empty or equal, as a hard case for everything that counts."""
    draws = np.random.Generator(np.random.Philox(key=seed))
    found = []
    for _ in range(images):
        captions = []
        for _ in range(m):
            length = int(draws.integers(0, longest + 1))
            captions.append(" ".join("abcdefghijklmnop"[i] for i in draws.integers(0, letters, size=length)))
        if m > 1 and draws.random() < 0.3:
            captions[-1] = captions[0]
        found.append(captions)
    return found


def split(captions):
    return [words(caption) for caption in captions]


def div_n(captions, n):
    total = sum(map(len, split(captions)))
    return len({gram for caption in split(captions) for gram in grams(caption, n)}) / total if total else nan


def distinct_n(captions, n):
    every = [gram for caption in split(captions) for gram in grams(caption, n)]
    return len(set(every)) / len(every) if every else nan


def unique(captions):
    return len(set(split(captions))) / len(captions)


def length(captions):
    return sum(map(len, split(captions))) / len(captions)


def spread(captions):
    mean = length(captions)
    return sqrt(sum((len(caption) - mean) ** 2 for caption in split(captions)) / len(captions))


def bleu(candidate, others, n=4):
    """BLEU of min(n, words) against other captions; nan without a word."""
    if not candidate:
        return nan
    logs = []
    for k in range(1, min(n, len(candidate)) + 1):
        made = Counter(grams(candidate, k))
        most = Counter()
        for other in others:
            most |= Counter(grams(other, k))
        right = sum(min(times, most[gram]) for gram, times in made.items())
        if not right:
            return 0.0
        logs.append(log(right / sum(made.values())))
    closest = min(others, key=lambda other: (abs(len(other) - len(candidate)), len(other)))
    brevity = 1.0 if len(candidate) >= len(closest) else exp(1 - len(closest) / len(candidate))
    return brevity * exp(sum(logs) / len(logs))


def mbleu(captions, n=4):
    said = split(captions)
    scores = [bleu(caption, said[:k] + said[k + 1 :], n) for k, caption in enumerate(said)]
    known = [score for score in scores if score == score]
    return sum(known) / len(known) if known else nan


def frequencies(images):
    """(images, n-gram -> images that have it)."""
    counts = Counter()
    for texts in images:
        counts.update({gram for text in split(texts) for n in range(1, 5) for gram in grams(text, n)})
    return len(images), counts


def cider(one, other, df):
    images, counts = df
    total = 0.0
    for n in range(1, 5):
        vectors = [
            {gram: times * log(images / max(1, counts[gram])) for gram, times in Counter(grams(text, n)).items()}
            for text in (one, other)
        ]
        norms = [sqrt(sum(value * value for value in vector.values())) for vector in vectors]
        if all(norms):
            total += sum(value * vectors[1].get(gram, 0.0) for gram, value in vectors[0].items()) / norms[0] / norms[1]
    return 10 * total / 4


def self_cider(captions, df):
    said = split(captions)
    kernel = np.array([[cider(one, other, df) for other in said] for one in said])
    if not kernel.trace():
        return nan
    roots = np.sqrt(np.clip(np.linalg.eigvalsh(kernel), 0, None))
    return -log(roots.max() / roots.sum()) / log(len(captions))


def lsa(captions):
    said = split(captions)
    if not any(said):
        return nan
    known = sorted({word for caption in said for word in caption})
    counts = np.array([[caption.count(word) for caption in said] for word in known], dtype=float)
    values = np.linalg.svd(counts, compute_uv=False)
    return -log(values.max() / values.sum()) / log(len(captions))


def rarefied(captions, m, of):
    """The mean over all subsets for which it is defined, one by one."""
    values = [of(list(some)) for some in combinations(captions, m)]
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else nan


def cider_d(text, references, df):
    """CIDEr-D as published: clipped, with the Gaussian of sigma 6 on the difference of bigrams."""
    if not references:
        return nan
    images, counts = df
    total = 0.0
    for reference in split(references):
        one = words(text)
        penalty = exp(-((max(0, len(one) - 1) - max(0, len(reference) - 1)) ** 2) / 72)
        for n in range(1, 5):
            vectors = [
                {gram: times * log(images / max(1, counts[gram])) for gram, times in Counter(grams(side, n)).items()}
                for side in (one, reference)
            ]
            norms = [sqrt(sum(value * value for value in vector.values())) for vector in vectors]
            if all(norms):
                shared = vectors[0].keys() & vectors[1].keys()
                dot = sum(min(vectors[0][gram], vectors[1][gram]) * vectors[1][gram] for gram in shared)
                total += penalty * dot / norms[0] / norms[1]
    return 10 * total / 4 / len(references)


def bleu_row(text, references):
    """Correct n-grams, n-grams made, words, words of the closest reference."""
    one, others = words(text), split(references)
    correct, made = [], []
    for n in range(1, 5):
        most = Counter()
        for other in others:
            most |= Counter(grams(other, n))
        correct.append((Counter(grams(one, n)) & most).total())
        made.append(max(0, len(one) - n + 1))
    closest = min((abs(len(other) - len(one)), len(other)) for other in others)[1]
    return [*correct, *made, len(one), closest]


def rouge_l(text, references):
    if not references:
        return nan
    one, others = words(text), split(references)
    longest = [common(one, other) for other in others]
    precision = max(longest) / len(one) if one else 0.0
    recall = max(found / len(other) if other else 0.0 for found, other in zip(longest, others, strict=True))
    return 2.44 * precision * recall / (recall + 1.44 * precision) if precision and recall else 0.0


def common(one, other):
    """The longest common subsequence, by the table of all beginnings."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, word in enumerate(one):
        for j, against in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if word == against else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]
