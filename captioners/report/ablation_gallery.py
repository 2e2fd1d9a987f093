"""What an ablation shows of single images: what is true of each, and what every arm said, with what a judge found."""

from collections.abc import Mapping
from typing import Literal

from captioners.core.options import Options

Mark = Literal["true", "false", "unparseable"]
"""What a judge found in a stretch of a caption."""


class Span(Options):
    """A stretch of a caption that was judged."""

    start: int
    stop: int
    """Its letters, from `start` up to `stop`, by code points."""
    mark: Mark


class Said(Options):
    """One caption."""

    text: str
    spans: tuple[Span, ...] = ()
    """In order, not overlapping; none where nobody judges."""

    @property
    def pieces(self) -> list[tuple[str, str]]:
        """The text in pieces, each with its mark or nothing."""
        found, at = [], 0
        for span in self.spans:
            found += [(self.text[at : span.start], ""), (self.text[span.start : span.stop], str(span.mark))]
            at = span.stop
        return [(text, mark) for text, mark in (*found, (self.text[at:], "")) if text]


class Seen(Options):
    """One image of the gallery."""

    key: str
    jpeg: str = ""
    """Base64; empty where it is not shown."""
    width: int = 0
    height: int = 0
    """In px."""
    facts: tuple[str, ...] = ()
    """What is true of it, in words."""
    references: tuple[str, ...] = ()
    """What people, or the drawn world's grammar, say of it."""
    captions: Mapping[str, tuple[Said, ...]] = {}
    """Arm -> its captions, in order."""
