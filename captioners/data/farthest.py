"""Choose the texts of a few that differ most, by the words and pairs of words that they share."""

from collections.abc import Sequence
from itertools import pairwise

from captioners.text.flags import words_of

_MARKS = ".,;:!?\"'()[]{}«»“”‘’…-–—"


def farthest(texts: Sequence[str], n: int, names: Sequence[int]) -> list[int]:
    """Return the names of `n` texts: the first, then again and again the one farthest from its nearest one taken.

    Ties go to the earlier text. The distance of two is 1 - shared / all different words and pairs of words.
    """
    grams = [_grams(text) for text in texts]
    taken = [0]
    nearest = [_distance(grams[0], one) for one in grams]
    while len(taken) < n:
        best = max((at for at in range(len(texts)) if at not in taken), key=lambda at: (nearest[at], -at))
        taken.append(best)
        nearest = [min(before, _distance(grams[best], one)) for before, one in zip(nearest, grams, strict=True)]
    return [names[at] for at in taken]


def _grams(text: str) -> frozenset[tuple[str, ...]]:
    words = [word for word in (word.strip(_MARKS) for word in words_of(text)) if word]
    return frozenset([*((word,) for word in words), *pairwise(words)])


def _distance(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    together = len(one | other)
    return 1 - len(one & other) / together if together else 0.0
