"""Fit a caption to a context: cut after the last token that fits, or after the last whole sentence that does."""

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from captioners.text.tokenizer import Tokenizer

Truncation = Literal["token", "sentence"]
"""A caption too long for the context ends where the room does (as in open_clip), or after its last whole sentence."""

_STOP = re.compile(
    r"[.!?…]+[\"'”’)\]]*(?=\s|$)"  # a stop and what closes with it; "3.5" and "x.com" have nothing to end them
    r"|[。！？]+[”’」』）]*"  # scripts without spaces
    r"|(?=\s*\n)"
)
_NEVER_LAST = re.compile(
    r"mr|mrs|ms|mx|dr|prof|st|mt|gen|col|sgt|capt|lt|rev|hon|gov|sen|rep|messrs|mme|mlle|vs|e\.g|i\.e|cf|viz|approx|ca"
    r"|fig|figs|vol|no|dept|ave|blvd"
)
"""Followed by a full stop, they end no sentence."""
_PERHAPS_LAST = re.compile(r"etc|al|jr|sr|inc|ltd|co|corp|bros|ft|lb|oz|ph\.d|[a-z](\.[a-z])+")
"""They do if a capital follows; so do letters with stops between: "u.s.", "p.m."."""


def fit(text: str, tokenizer: Tokenizer, room: int, truncation: Truncation = "token") -> tuple[list[int], bool]:
    """Return the content ids of `text`, at most `room` of them, and whether some of it was left out.

    With `sentence`, what is left are whole sentences, tokenized by themselves; if not even the first one fits, the
    caption is cut at a token.
    """
    ids = tokenizer.encode(text)
    if len(ids) <= room:
        return ids, False
    if truncation == "sentence":
        for end in reversed(sentence_ends(text)):
            whole = tokenizer.encode(text[:end])
            if whole and len(whole) <= room:
                return whole, True
    return ids[:room], True


def caption_ids(
    text: str, tokenizer: Tokenizer, context_length: int, truncation: Truncation = "token"
) -> tuple[NDArray[np.int32] | None, bool]:
    """Return what a model is trained on, int32 [<= context_length]: start, content, end; and whether it was cut.

    None for a text without a token.
    """
    ids, cut = fit(text, tokenizer, context_length - 2, truncation)
    return (np.array([tokenizer.start_id, *ids, tokenizer.end_id], dtype=np.int32) if ids else None), cut


def sentence_ends(text: str) -> list[int]:
    """Return where sentences end, after their stop; a rest without a stop is no whole sentence.

    >>> text = "Mr. Bean, 3.5 m tall, i.e. a giant. He waves"
    >>> [text[:end] for end in sentence_ends(text)]
    ['Mr. Bean, 3.5 m tall, i.e. a giant.']
    """
    ends: list[int] = []
    for stop in _STOP.finditer(text):
        start = ends[-1] if ends else 0
        if text[start : stop.end()].strip() and _is_end(text[start : stop.start()], stop[0], text[stop.end() :]):
            ends.append(stop.end())
    return ends


def _is_end(before: str, stop: str, after: str) -> bool:
    """Say whether a stop ends the sentence `before` it."""
    following = after.lstrip()[:1]
    if stop.startswith(("...", "…")):
        return not following.islower()  # "a dog ... and a cat"
    if not stop.startswith("."):
        return True
    words = before.split()
    word = words[-1].lstrip("\"'“‘([").lower() if words else ""
    if _NEVER_LAST.fullmatch(word):
        return word == "no" and not following.isdigit()  # "No. 5"
    if _PERHAPS_LAST.fullmatch(word):
        return not following or following.isupper()
    if len(words) == 1 and word.isdigit():  # "2. A cat": the number of an item
        return False
    return len(word) != 1 or not word.isalpha() or word == "i"  # "J. Doe"
