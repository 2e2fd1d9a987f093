"""What becomes of a text that comes with its spaces: unprintable characters go, white space is collapsed."""

from typing import Any

from captioners.decoding.values import Beam, Sample
from captioners.text import rules
from captioners.text.sentences import first_sentence

TEXT_RULES: dict[str, Any] = {"version": rules.VERSION, "names": ["drop_control", "collapse_space"]}
"""For a layer's fingerprint."""


def plain(raw: str, decoding: Sample | Beam) -> tuple[str, str | None]:
    r"""Return the clean text, and the raw one where it differs.

    >>> plain(" A cat.\n", Sample())
    ('A cat.', ' A cat.\n')
    """
    text = rules.collapse_space(rules.drop_control(raw))
    if decoding.cut == "first_sentence":
        text = first_sentence(text)
    return text, raw if raw != text else None
