"""In which scripts a text is written, by the Unicode names of its letters, and whether a foreign one leaks into it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from functools import lru_cache
from typing import Literal

Script = Literal[
    "latin", "greek", "cyrillic", "armenian", "georgian", "hebrew", "arabic", "devanagari", "bengali", "tamil", "thai",
    "cjk",
]  # fmt: skip
"""`cjk` is Chinese, Japanese and Korean writing together: each mixes several."""

_CJK = {"cjk", "hiragana", "katakana", "katakana-hiragana", "ideographic", "hangul", "bopomofo"}
_LETTERS = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=1 << 16)
def script_of(letter: str) -> str:
    """Return the script of one letter, in lower case; "" of what belongs to none (modifier letters).

    >>> script_of("a"), script_of("ä"), script_of("ｂ"), script_of("猫"), script_of("ж")
    ('latin', 'latin', 'latin', 'cjk', 'cyrillic')
    """
    plain = unicodedata.normalize("NFKC", letter)[:1]  # wide, bold and ligated forms are named by their form
    script = unicodedata.name(plain, "").partition(" ")[0].lower()
    if script in _CJK:
        return "cjk"
    return "" if script == "modifier" else script


def leaks(text: str, expected: Collection[str] | None = None) -> bool:
    """Whether letters stand in a text that its script does not have.

    Args:
        expected: the scripts that may be there; None: the one most letters are of, and Latin, which names things
            everywhere. A Greek letter that begins a word is a symbol, and leaks into nothing.

    >>> leaks("a red cup"), leaks("a red чашка on a mat"), leaks("an α particle"), leaks("手机壳适用于苹果 iPhone")
    (False, True, False, False)
    """
    if text.isascii() and (expected is None or "latin" in expected):
        return False
    words = _LETTERS.findall(text)
    if expected is None:
        seen = Counter(filter(None, map(script_of, "".join(words))))
        expected = {"latin", *(script for script, _ in seen.most_common(1))}
    return any(_foreign(word, expected) for word in words)


def _foreign(word: str, expected: Collection[str]) -> bool:
    if script_of(word[0]) == "greek":  # "µm" and "α" are symbols
        word = word[1:]
    return bool(set(map(script_of, word)) - {"", *expected})
