"""Where sentences end: at their stop, never at "Mr." or "3.5"."""

import re
from itertools import pairwise

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


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, and last what has no stop.

    >>> sentences("A dog. A cat")
    ['A dog.', 'A cat']
    """
    ends = [0, *sentence_ends(text), len(text)]
    pieces = (text[start:end].strip() for start, end in pairwise(ends))
    return [piece for piece in pieces if piece]


def first_sentence(text: str) -> str:
    """Return the first sentence without its full stop.

    So Apple's generator cuts captions, and the preset `raygen`. Its own cut is the plain `text.split(".")[0]`, to which
    "3.5 kg" is "3" and "Mr. Bean" is "Mr"; faults like these are not reproduced.

    >>> first_sentence("mr. bean weighs 3.5 stone. he waves.")
    'mr. bean weighs 3.5 stone'
    """
    first = next(iter(sentences(text)), "")
    last = first.rpartition(" ")[2]
    return first[:-1].rstrip() if last.find(".") == len(last) - 1 else first


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
