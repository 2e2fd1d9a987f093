"""One self-contained HTML page about a run: what stands on it, as values, and how they become text.

The page asks for nothing: its style, its script and its pictures are inside, and its content policy forbids the rest.
Captions come from models and shards, so all text is escaped; only our own style and script are not.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from captioners.report.histogram import Histogram
from captioners.report.html import render_page

Mark = Literal["true", "false", "unparseable"]
"""What a judge found in a caption."""


@dataclass(frozen=True, kw_only=True)
class Caption:
    """One draw of one member."""

    draw: int
    text: str
    logprob: float | None = None
    flags: Sequence[str] = ()
    refused: bool = False
    """A rule refused it, finally."""
    mark: Mark | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image with every member's captions."""

    key: str
    shard: str = ""
    captions: Mapping[str, Sequence[Caption]] = field(default_factory=dict)
    """Member's name -> its draws."""
    thumbnail: bytes = b""
    """A JPEG, or nothing."""
    width: int = 0
    height: int = 0
    """Of the thumbnail, in px."""
    missing: str = ""
    """Why there is no thumbnail; empty when pictures were not wanted."""

    @property
    def source(self) -> str:
        """The thumbnail as a data URI."""
        return f"data:image/jpeg;base64,{b64encode(self.thumbnail).decode()}"

    @property
    def alternative(self) -> str:
        """What a reader hears who does not see it: the first caption that was not refused."""
        told = next((c.text for draws in self.captions.values() for c in draws if not c.refused), "no caption")
        return f"{self.key}, captioned: {told}"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member's counts and provenance."""

    name: str
    about: str
    """One line: captioner, decoding, draws."""
    read: int
    captioned: int
    filtered: int
    quarantined: int
    rows: int
    flags: Mapping[str, int]
    """Flag -> captions."""
    problem: str = ""
    """Which of the two sums does not hold."""
    histogram: Histogram
    provenance: Mapping[str, str]
    """Name -> value: captioner, digests, decoding, licences ..."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A reason for quarantine."""

    name: str
    count: int
    example: str
    """One record's error line."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table that a job adds, such as faithfulness: plain text in all cells."""

    title: str
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    note: str = ""
    wordy: bool = False
    """Cells are sentences, not numbers: from the left, broken where they must be."""

    @property
    def anchor(self) -> str:
        """The name that a link to it has."""
        return "section-" + "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that stands on the page."""

    title: str
    summary: str
    """One sentence under the title."""
    members: Sequence[Member]
    pictures: Sequence[Picture]
    pictures_about: str
    """One sentence: which images these are, of how many."""
    quarantine: Sequence[Reason] = ()
    sections: Sequence[Section] = ()
    notes: Sequence[str] = ()
    """What a reader must know before all else."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Of the run as a whole."""
    recipe: str = ""
    version: str = ""
    """Of the package that wrote the page."""

    @property
    def flags(self) -> list[str]:
        """The flags on the page's captions, sorted, `refused` among them."""
        shown = [c for picture in self.pictures for draws in picture.captions.values() for c in draws]
        refused = {"refused"} if any(c.refused for c in shown) else set()
        return sorted({flag for c in shown for flag in c.flags} | refused)

    @property
    def marks(self) -> list[str]:
        """The marks on the page's captions, sorted."""
        shown = [c for picture in self.pictures for draws in picture.captions.values() for c in draws]
        return sorted({c.mark for c in shown if c.mark})


def render(page: Page) -> str:
    """Return the page as HTML text."""
    return render_page("page.html.j2", "filter.js", page=page)
