"""Fit a caption to a context: cut after the last token that fits, or after the last whole sentence that does."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from captioners.text.sentences import sentence_ends
from captioners.text.tokenizer import Tokenizer

Truncation = Literal["token", "sentence"]
"""A caption too long for the context ends where the room does (as in open_clip), or after its last whole sentence."""


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
