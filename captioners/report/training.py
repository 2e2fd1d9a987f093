"""The page of a training run: curves, captions of the same held-out images as they change, and how it ended.

It stands in the run as `training.html`, opens from disk and asks for nothing; while the run goes on it reloads itself.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from captioners.report.curve import Curve
from captioners.report.html import render_page

RELOAD_S = 20
"""Seconds between two readings of the page while the run goes on."""


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """One held-out image, and what was said of it."""

    key: str
    thumbnail: bytes
    """A JPEG."""
    width: int
    height: int
    """Of the thumbnail, in px."""
    references: Sequence[str]
    """What people wrote."""
    said: Sequence[tuple[str, str]]
    """(when, caption), in order; a caption that did not change is not repeated."""

    @property
    def source(self) -> str:
        """The thumbnail as a data URI."""
        return f"data:image/jpeg;base64,{b64encode(self.thumbnail).decode()}"


@dataclass(frozen=True, kw_only=True)
class TrainingPage:
    """All that stands on the page."""

    title: str
    summary: str
    """One sentence: where the run is."""
    running: bool
    answer: str = ""
    """Whether it got better, once that is known."""
    notes: Sequence[str] = ()
    """What else a reader must know first, such as why it stopped."""
    numbers: Mapping[str, str] = field(default_factory=dict)
    """Name -> value, the run's facts."""
    curves: Sequence[Curve] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    """One row an evaluation."""
    spoken: Sequence[Spoken] = ()
    recipe: str = ""
    version: str = ""


def render_training(page: TrainingPage) -> str:
    """Return the page as HTML text."""
    return render_page("training.html.j2", style="training.css", page=page, reload=RELOAD_S)
