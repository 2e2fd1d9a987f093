"""Notice what is wrong with a caption: nothing there, too short, going round in circles, no text, cut by its limit.

A flag is a remark; what it leads to, `Rules` says: the caption stays, is drawn anew, or is left out.
"""

import re
import unicodedata
import zlib
from collections import Counter
from itertools import accumulate
from operator import eq
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from captioners.core.options import Options
from captioners.text.rules import prints_nothing
from captioners.text.scripts import Script, leaks
from captioners.text.sentences import sentences

VERSION = 2
"""Raised whenever a flag is given otherwise; part of a layer's fingerprint."""

Flag = Literal[
    "empty", "too_short", "repetitive", "repeated_sentence", "not_text", "non_printing", "foreign_script", "truncated",
    "placeholder",
]  # fmt: skip
Action = Literal["keep", "retry", "drop"]
"""keep: the flag is only noted. retry: drawn anew, and in the end left out. drop: left out at once.

What is left out keeps its row, with `keep = false`; a sample without any caption left counts as filtered.
"""

FEWEST_WORDS = 3
_LONGEST_GRAM = 6
_TIMES = 3
_ZLIB_RATIO, _ZLIB_WORDS = 2.5, 20
_MOST_STRANGE = 0.5
# Scripts that put no spaces between words: there each character counts as a word.
_NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_NO_SPACES}]|[^\s{_NO_SPACES}]+")
_ANY_STOP = re.compile(r"[.!?…。！？\n]")
_DIGIT_TIMES, _ZERO_TIMES = 4, 7
_NEVER_LAST = frozenset(["a", "an", "the", "and", "or", "of", "with", "from", "into", "their", "its"])
"""English words that go on; "of the" at the end of a caption has lost what it was of."""


class Rules(Options):
    """What is asked of a caption before it counts: for each flag, what becomes of a caption that has it."""

    empty: Action = "retry"
    """No word at all."""
    too_short: Action = "retry"
    """Fewer than 3 words (in scripts without spaces, characters)."""
    repetitive: Action = "retry"
    """Some 1..6 words back to back three times or more, or much that recurs and compresses beyond 2.5 times."""
    repeated_sentence: Action = "retry"
    """A sentence of 3 words or more stands there twice."""
    not_text: Action = "retry"
    """More than half of its characters are no letters."""
    non_printing: Action = "retry"
    """Decoded with characters that print nothing (control, unassigned, half a letter); clean text has lost them."""
    foreign_script: Action = "keep"
    """Letters of a script that does not belong there, such as Cyrillic in English; see `scripts`."""
    truncated: Action = "keep"
    """Ended by its length limit, by a comma or by a word that goes on ("of the")."""
    placeholder: Literal["keep", "drop"] = "keep"
    """Its picture stands in for many that are gone ("image not found"): see `placeholder_share`."""
    scripts: list[Script] | None = Field(None, min_length=1)
    """Scripts that captions may be written in; absent: the one that most of a caption is in, and Latin."""
    placeholder_share: float = Field(0.02, gt=0, le=1)
    """Share of the pictures read together (a unit; at least 5) from which on the very same file is a placeholder."""
    retries: int = Field(3, ge=0)
    """How often a draw is made anew; then its row stays with `keep = false`. A beam is never made anew."""

    @model_validator(mode="before")
    @classmethod
    def _by_list(cls, given: Any) -> Any:
        """Take the earlier form, too: `refuse: [flags]`, of which each was drawn anew and all others were kept."""
        if not isinstance(given, dict) or not isinstance(given.get("refuse"), list):
            return given
        refuse = [flag for flag in given["refuse"] if flag in get_args(Flag)]
        if refuse != given["refuse"]:
            return given  # told as an unknown key
        rest = {key: value for key, value in given.items() if key != "refuse"}
        return dict.fromkeys(_BY_LIST, "keep") | dict.fromkeys(refuse, "retry") | rest

    def action(self, flags: list[Flag]) -> Action:
        """Return the strictest action that flags ask for."""
        asked: set[Action] = {getattr(self, flag) for flag in flags}
        return "drop" if "drop" in asked else "retry" if "retry" in asked else "keep"

    def refused(self, flags: list[Flag]) -> bool:
        """Whether a caption with these flags is left out, unless it is drawn anew."""
        return self.action(flags) != "keep"

    def again(self, flags: list[Flag], attempt: int) -> bool:
        """Whether a sampled caption of so many attempts, the first is 0, is drawn anew."""
        return attempt < self.retries and self.action(flags) == "retry"


_BY_LIST = ("empty", "too_short", "repetitive", "not_text", "truncated")


def flags_of(
    text: str, raw_text: str | None = None, finish: str = "eos", scripts: list[Script] | None = None
) -> list[Flag]:
    """Return a caption's flags, in a fixed order.

    Args:
        text: the clean text. raw_text: the text as decoded, where it differs; there loops are still whole.
        finish: why the caption ended: eos, length or repetition.
        scripts: as in `Rules`.

    >>> flags_of("a red square"), flags_of("two dogs"), flags_of("a cat and a cat and a cat and a"), flags_of("")
    ([], ['too_short'], ['repetitive', 'truncated'], ['empty'])
    """
    found: list[Flag] = []
    raw = text if raw_text is None else raw_text
    words = words_of(text)
    if not words:
        found.append("empty")
    elif len(words) < FEWEST_WORDS:
        found.append("too_short")
    if finish == "repetition" or is_repetitive(raw):
        found.append("repetitive")
    if _repeats(words) and repeats_a_sentence(text):
        found.append("repeated_sentence")
    if words and strange_share(text) > _MOST_STRANGE:
        found.append("not_text")
    if (not raw.isprintable() or "\ufffd" in raw) and any(map(prints_nothing, raw)):
        found.append("non_printing")
    if leaks(text, scripts):
        found.append("foreign_script")
    if finish == "length" or (words and (words[-1] in _NEVER_LAST or words[-1].endswith(","))):
        found.append("truncated")
    return found


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case; in scripts without spaces, its characters."""
    return _WORD.findall(text.lower())


def is_repetitive(text: str) -> bool:
    """Whether some 1..6 words stand back to back three times or more, or many recur and compress beyond 2.5 times.

    Many: of 20 words or more, at most half differ from each other.
    """
    words = words_of(text)
    if not _repeats(words):
        return False
    if any(_loops(words, gram) for gram in range(1, _LONGEST_GRAM + 1)):
        return True
    data = text.encode()
    return len(words) >= max(_ZLIB_WORDS, 2 * len(set(words))) and len(data) > _ZLIB_RATIO * len(zlib.compress(data))


def repeats_a_sentence(text: str) -> bool:
    """Whether the same sentence of three words or more stands there twice, stops and capitals aside."""
    pieces = [piece.strip() for piece in _ANY_STOP.split(text.lower())]
    if len(set(pieces)) == len(pieces):  # whatever ends a sentence, none is there twice
        return False
    said = (tuple(words_of(sentence.rstrip(".!?…。！？"))) for sentence in sentences(text))
    return any(times > 1 and len(words) >= FEWEST_WORDS for words, times in Counter(said).items())


def _repeats(words: list[str]) -> bool:
    # What three in a row, and a sentence twice, take at the least; most captions have no more than an "a" twice.
    return len(words) - len(set(words)) >= _TIMES - 1


def _loops(words: list[str], gram: int) -> bool:
    # Back to back k times: (k - 1) * gram words in a row equal the word `gram` places on.
    same = list(map(eq, words, words[gram:]))
    if sum(same) < (_TIMES - 1) * gram:
        return False
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
    seen = "".join(text.split())
    if not seen or seen.isalpha():
        return 0.0
    letters = sum(map(str.isalpha, seen))
    if letters < len(seen) and not seen.isascii():
        letters += sum(map(_is_mark, seen))
    return (len(seen) - letters) / len(seen)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")
