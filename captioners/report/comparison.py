"""Two pages about two captioners: one that compares them image by image, and a blind one that collects votes.

The blind page knows no names and no scores, and not which caption is whose: that stands in a key file beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from captioners.report.html import render_page
from captioners.report.page import Picture, Section


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number of an image, before and after, as text."""

    name: str
    before: str
    after: str
    change: str
    better: bool | None
    """None: neither better nor worse."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One image with both captions."""

    picture: Picture
    """Its thumbnail and key."""
    before: str
    after: str
    references: Sequence[str] = ()
    scores: Sequence[Score] = ()


@dataclass(frozen=True, kw_only=True)
class Group:
    """Some images, and why these."""

    title: str
    text: str
    cards: Sequence[Card]

    @property
    def anchor(self) -> str:
        """The name that a link to it has."""
        return "group-" + "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True, kw_only=True)
class ComparisonPage:
    """All that stands on the page that compares."""

    title: str
    summary: str
    """The one sentence."""
    before: str
    """Names of the two."""
    after: str
    groups: Sequence[Group]
    sections: Sequence[Section] = ()
    notes: Sequence[str] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """One image to vote on."""

    picture: Picture
    left: str
    right: str


@dataclass(frozen=True, kw_only=True)
class BlindPage:
    """All that stands on the page that collects votes."""

    page: str
    """What its votes and its key call it."""
    ballots: Sequence[Ballot]
    version: str = ""


def render_comparison(page: ComparisonPage) -> str:
    """Return the page that compares as HTML text."""
    return render_page("comparison.html.j2", "comparison.js", page=page)


def render_blind(page: BlindPage) -> str:
    """Return the blind page as HTML text."""
    return render_page("blind.html.j2", "vote.js", page=page)
