"""The blind page with its key, and what the votes that come back say: whose captions people prefer.

Votes are files from anywhere, so nothing in them is believed: they must be of this page, on its images, in its words.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from captioners.core.errors import NotFoundError, UserError
from captioners.core.options import Options
from captioners.core.seeds import uniforms
from captioners.jobs.compare.findings import Comparison
from captioners.jobs.compare.images import ComparedImage
from captioners.jobs.compare.page import thumbnail
from captioners.metrics.preference import Choice, Preference, preference
from captioners.report.comparison import Ballot, BlindPage, render_blind

KEY_ENDING = ".key.json"
_SIDE, _QUALITY = 384, 72
_LARGEST = 4_000_000
"""Bytes of a votes file or a key."""

Whose = Literal["before", "after"]
M = TypeVar("M", bound=Options)


class BlindKey(Options):
    """What the blind page hides; the file beside it."""

    format: Literal["captioners-blind-key"] = "captioners-blind-key"
    version: Literal[1] = 1
    page: str
    before: str
    after: str
    left: dict[str, Whose]
    """Whose caption stands left, by the image's key."""
    same: int = Field(ge=0)
    """Images that are not on the page, because both captions are the same."""


class Votes(Options):
    """What a voter sends back."""

    format: Literal["captioners-votes"]
    version: Literal[1]
    page: str
    votes: dict[str, Literal["left", "right", "tie"]]


@dataclass(frozen=True)
class Counted:
    """The votes of one page."""

    key: BlindKey
    found: Preference
    voters: int
    """Files."""

    @property
    def sentence(self) -> str:
        """The answer."""
        one, before, after = self.found, self.key.before, self.key.after
        if not one.images:
            return "Which do people prefer? CAN'T TELL: there is no vote"
        who = {"YES": after, "NO": before}.get(one.verdict, one.verdict)
        return (
            f"Which do people prefer? {who}: {after} is preferred in {100 * one.share:.0f} % "
            f"[{100 * one.low:.0f}, {100 * one.high:.0f}] of {one.images:,} images, a tie counting half "
            f"({one.after:,} votes for {after}, {one.before:,} for {before}, {one.tie:,} ties; "
            f"{self.voters:,} voter{'' if self.voters == 1 else 's'}; 95 % interval by Wilson over images)"
        )


def blind_page(found: Comparison, images: Mapping[str, ComparedImage]) -> tuple[str, BlindKey]:
    """Return the page that hides which caption is whose, and its key.

    Left and right are chosen by a hash of seed and image, and so is the order. There are no scores and no references
    on the page: they would tell voters what to prefer. Images of which both say the same are left out.

    Raises:
        UserError: they say the same of every image.
    """
    from captioners import __version__

    told = [row for row in found.rows if row.before.strip() != row.after.strip()]
    if not told:
        raise UserError(f"{found.before.name} and {found.after.name} say the same of every image; nothing to vote on")
    order = sorted(told, key=lambda row: float(uniforms(2, "blind", found.seed, row.key)[1]))
    left: dict[str, Whose] = {row.key: _left(found.seed, row.key) for row in order}
    named = json.dumps([found.before.name, found.after.name, left, found.seed]).encode()
    page = sha256(named).hexdigest()[:16]
    ballots = [
        Ballot(
            picture=thumbnail(images[row.key], _SIDE, _QUALITY),
            left=row.before if left[row.key] == "before" else row.after,
            right=row.after if left[row.key] == "before" else row.before,
        )
        for row in order
    ]
    key = BlindKey(
        page=page, before=found.before.name, after=found.after.name, left=left, same=len(found.rows) - len(told)
    )
    return render_blind(BlindPage(page=page, ballots=ballots, version=__version__)), key


def _left(seed: int, key: str) -> Whose:
    return "before" if uniforms(1, "blind", seed, key)[0] < 0.5 else "after"


def count_votes(files: Sequence[str | Path], keys: Sequence[str | Path] = ()) -> Counted:
    """Return what the votes of one page say.

    Args:
        files: votes, one voter each. keys: key files; none: those beside the votes and in the working folder.

    Raises:
        NotFoundError: a file or the key of their page is not there. UserError: a file is not what it should be, holds
            votes of another page or image, or is given twice.
    """
    read: dict[str, str] = {}
    cast: list[tuple[str, Votes]] = []
    for file in map(str, files):
        votes = _read(Path(file), Votes, "votes that a blind page gave out")
        digest = sha256(Path(file).read_bytes()).hexdigest()
        if digest in read:
            raise UserError(f"{file}: the same votes as {read[digest]}; give each file once")
        read[digest] = file
        cast.append((file, votes))
    if not cast:
        raise UserError("no votes were given; name the files that voters downloaded")
    key = _key_of(cast[0][1].page, [Path(file) for file in files], [Path(given) for given in keys])
    every: dict[str, list[Choice]] = {}
    for file, votes in cast:
        _check(file, votes, key, cast[0][0])
        for image, vote in votes.votes.items():
            every.setdefault(image, []).append(_whose(vote, key.left[image]))
    return Counted(key, preference(every), len(cast))


def _whose(vote: Literal["left", "right", "tie"], left: Whose) -> Choice:
    if vote == "tie":
        return "tie"
    other: Whose = "after" if left == "before" else "before"
    return left if vote == "left" else other


def _check(file: str, votes: Votes, key: BlindKey, first: str) -> None:
    if votes.page != key.page:
        raise UserError(f"{file}: votes of page {votes.page[:32]!r}, and {first} are of {key.page!r}; count them apart")
    unknown = [image for image in votes.votes if image not in key.left]
    if unknown:
        raise UserError(f"{file}: votes on {unknown[0][:80]!r}, which is not on page {key.page}; the file was changed")


def _key_of(page: str, files: Sequence[Path], keys: Sequence[Path]) -> BlindKey:
    """Return the key of a page, from the files given or found beside the votes and in the working folder."""
    folders = dict.fromkeys([Path(), *(file.parent for file in files)])
    places = list(keys) or [place for folder in folders for place in sorted(folder.glob(f"*{KEY_ENDING}"))]
    for place in places:
        key = _read(place, BlindKey, "the key of a blind page")
        if key.page == page:
            return key
    looked = ", ".join(map(str, places)) or f"*{KEY_ENDING} beside the votes and here"
    raise NotFoundError(
        f"the key of page {page[:32]!r} is not there (looked at {looked}); say --out PAGE.html, its page"
    )


def _read(file: Path, model: type[M], what: str) -> M:
    try:
        if file.stat().st_size > _LARGEST:
            raise UserError(f"{file}: larger than {_LARGEST:,} bytes, so it is not {what}")
        return model.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"{file}: no such file; it should be {what}") from None
    except OSError as error:
        raise UserError(f"{file}: could not be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"])
        said = " ".join(str(first["msg"]).split())[:120]
        raise UserError(f"{file}: not {what} ({f'{where}: ' if where else ''}{said})") from None
