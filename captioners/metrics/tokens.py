"""The one tokenizer of all metrics over words: lower case, words of letters and digits, no punctuation.

Papers use the Java tokenizer of the Penn Treebank, which keeps "two-tone" and "3.5" whole and splits "it's"; numbers
differ a little from theirs, and are compared only with numbers of this tokenizer.
"""

import re
import unicodedata
from collections.abc import Sequence

TOKENIZER = "ptb-like-2"
"""Names `words` in what is printed and stored; another name when it splits otherwise."""

# Signs that Unicode counts as marks, not letters, and that words are written with: accents, Hebrew and Arabic points,
# and all of the Indic blocks but their full stops.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
# Scripts without spaces between words: each character counts as a word, as in the flags of captions.
_NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_LETTER = rf"(?:(?![{_NO_SPACES}])[^\W_]|[{_MARKS}])"
_WORD = re.compile(rf"[{_NO_SPACES}]|{_LETTER}+(?:'[^\W\d_]+)?")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")

Words = tuple[str, ...]


def words(text: str) -> Words:
    """Return a caption's words: lower case, letters and digits with one apostrophe part, no punctuation.

    >>> words("It's a two-tone circle."), words("Ein Kätzchen schläft")
    (("it's", 'a', 'two', 'tone', 'circle'), ('ein', 'kätzchen', 'schläft'))
    """
    if text.isascii():  # the same result, several times as fast
        return tuple(_ASCII_WORD.findall(text.lower()))
    return tuple(_WORD.findall(unicodedata.normalize("NFC", text).lower().replace("\u2019", "'")))


def grams(caption: Words, n: int) -> list[Words]:
    """Return a caption's n-grams in order, repeats included."""
    return [caption[i : i + n] for i in range(len(caption) - n + 1)]


def split_all(captions: Sequence[str]) -> list[Words]:
    """Return the words of each caption."""
    return [words(text) for text in captions]
