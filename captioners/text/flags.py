"""Notice what is wrong with a caption: nothing there, too short, going round in circles, no text, cut by its limit.

A flag is a remark; which flags make a caption be drawn anew, and in the end be left out, `Rules` says.
"""

import re
import unicodedata
import zlib
from itertools import accumulate
from typing import Literal

from pydantic import Field

from captioners.core.options import Options

VERSION = 1
"""Raised whenever a flag is given otherwise; part of a layer's fingerprint."""

Flag = Literal["empty", "too_short", "repetitive", "not_text", "truncated"]

FEWEST_WORDS = 3
_LONGEST_GRAM = 6
_TIMES = 3
_ZLIB_RATIO, _ZLIB_WORDS = 2.5, 20
_MOST_STRANGE = 0.5
# Scripts that put no spaces between words: there each character counts as a word.
_NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_NO_SPACES}]|[^\s{_NO_SPACES}]+")
_DIGIT_TIMES, _ZERO_TIMES = 4, 7


class Rules(Options):
    """What is asked of a caption before it counts."""

    refuse: list[Flag] = Field(["empty", "too_short", "repetitive", "not_text"])
    """Flags that a caption may not have; a sampled one is then drawn anew. Others are only noted in its row."""
    retries: int = Field(3, ge=0)
    """How often a refused draw is made anew; then its row stays with `keep = false`. A beam is never made anew."""

    def refused(self, flags: list[Flag]) -> bool:
        """Whether a caption with these flags is refused."""
        return any(flag in self.refuse for flag in flags)


def flags_of(text: str, raw_text: str | None = None, finish: str = "eos") -> list[Flag]:
    """Return a caption's flags, in a fixed order.

    Args:
        text: the clean text. raw_text: the text as decoded, where it differs; there loops are still whole.
        finish: why the caption ended: eos, length or repetition.

    >>> flags_of("a red square"), flags_of("two dogs"), flags_of("a cat and a cat and a cat and a"), flags_of("")
    ([], ['too_short'], ['repetitive'], ['empty'])
    """
    found: list[Flag] = []
    words = words_of(text)
    if not words:
        found.append("empty")
    elif len(words) < FEWEST_WORDS:
        found.append("too_short")
    if finish == "repetition" or is_repetitive(text if raw_text is None else raw_text):
        found.append("repetitive")
    if words and strange_share(text) > _MOST_STRANGE:
        found.append("not_text")
    if finish == "length":
        found.append("truncated")
    return found


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case; in scripts without spaces, its characters."""
    return _WORD.findall(text.lower())


def is_repetitive(text: str) -> bool:
    """Whether some 1..6 words stand back to back three times or more, or 20 words or more compress beyond 2.5 times."""
    words = words_of(text)
    if any(_loops(words, gram) for gram in range(1, _LONGEST_GRAM + 1)):
        return True
    data = text.encode()
    return len(words) >= _ZLIB_WORDS and len(data) > _ZLIB_RATIO * len(zlib.compress(data))


def _loops(words: list[str], gram: int) -> bool:
    # Back to back k times: (k - 1) * gram words in a row equal the word `gram` places on.
    same = [a == b for a, b in zip(words, words[gram:], strict=False)]
    runs = accumulate(same, lambda run, equal: (run + 1) * equal, initial=0)
    wanted = (_times(word) if gram == 1 else _TIMES for word in words)
    return any(run >= (times - 1) * gram for run, times in zip(runs, wanted, strict=False))


def _times(word: str) -> int:
    """Return how often a single word must follow itself: CLIP decodes "1000" as "1 0 0 0" and "777" as "7 7 7"."""
    if word == "0":
        return _ZERO_TIMES
    return _DIGIT_TIMES if len(word) == 1 and word.isdigit() else _TIMES


def strange_share(text: str) -> float:
    """Return the share of characters, white space apart, that are no letters nor marks on letters; 0 of nothing."""
    seen = [character for character in text if not character.isspace()]
    strange = sum(not (character.isalpha() or _is_mark(character)) for character in seen)
    return strange / len(seen) if seen else 0.0


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")
