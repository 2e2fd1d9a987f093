"""What a worker notices beyond single captions: one for much of a shard, none left of a shard, a blind captioner.

Also the pictures that recur in a unit: the same file again and again stands in for pictures that are gone. Which they
are depends on the unit alone, so a unit made anew marks the same ones.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from PIL import Image

from captioners.core.alarms import Alarm
from captioners.core.errors import ImageError
from captioners.core.records import Row
from captioners.core.seeds import Stream
from captioners.data.source import Sample, Shard
from captioners.images.fast import picture_of
from captioners.images.fit import Fit
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.kinds.captioner import Captioner, Request
from captioners.text.flags import Rules

SAME_SHARE, FEWEST_IMAGES = 0.25, 20
"""One caption for such a share of different pictures, of at least so many, is an alarm."""
PICTURES, APART = 8, 16
"""Pictures that are swapped, and how many samples lie between one and the next: neighbours may look alike."""
_RECURS = 3
_MOST_KEPT = 8
_FEWEST_PLACEHOLDERS = _FEWEST_REFUSED = 5
OF_ROWS = ("same_caption", "nothing_kept")


def of_rows(member: str, shard: str, rows: Sequence[Row]) -> list[Alarm]:
    """Return the alarms that a unit's rows alone give; their names are `OF_ROWS`."""
    return [*same_caption(member, shard, rows), *nothing_kept(member, shard, rows)]


def nothing_kept(member: str, shard: str, rows: Sequence[Row]) -> list[Alarm]:
    """Return an alarm if a unit has captions and not one that is kept: a wrong field or prompt, not the pictures."""
    samples = {row["index"] for row in rows}
    if len(samples) < _FEWEST_REFUSED or any(row["keep"] for row in rows):
        return []
    flags = Counter(flag for row in rows for flag in row["flags"]).most_common()
    why = ", ".join(f"{flag} {count:,}" for flag, count in flags)
    such = rows[0]["raw_text"] or rows[0]["text"]
    line = f"not one caption of {len(samples):,} samples is kept ({why}), such as {such[:160]!r}"
    return [Alarm(name="nothing_kept", member=member, shard=shard, text=line, share=1.0)]


def same_caption(member: str, shard: str, rows: Iterable[Row]) -> list[Alarm]:
    """Return an alarm if much of a unit, different pictures, has one and the same caption."""
    said: dict[str, set[str]] = {}
    pictures: set[str] = set()
    for row in rows:
        pictures.add(row["image_sha256"])
        if row["keep"]:
            said.setdefault(row["text"].casefold(), set()).add(row["image_sha256"])
    text, having = max(said.items(), key=lambda item: len(item[1]), default=("", set()))
    share = len(having) / max(len(pictures), 1)
    if len(pictures) < FEWEST_IMAGES or share < SAME_SHARE:
        return []
    line = f"{len(having):,} of {len(pictures):,} different pictures have the same "
    return [Alarm(name="same_caption", member=member, shard=shard, text=f"{line}caption, {text[:80]!r}", share=share)]


def repeated(rows: Iterable[Row]) -> dict[str, int]:
    """Return image sha256 -> samples, of the pictures that a unit has most often, three times or more."""
    return {sha256: count for sha256, count in _pictures(rows).most_common(_MOST_KEPT) if count >= _RECURS}


def marked(rows: Sequence[Row], rules: Rules) -> list[Row]:
    """Return a unit's rows with the flag `placeholder` where it belongs, and `keep` as the rules then say."""
    counts = _pictures(rows)
    least = max(rules.placeholder_share * counts.total(), _FEWEST_PLACEHOLDERS)
    return [_marked(row, counts[row["image_sha256"]] >= least, rules) for row in rows]


def _marked(row: Row, placeholder: bool, rules: Rules) -> Row:
    flags = [flag for flag in row["flags"] if flag != "placeholder"] + ["placeholder"] * placeholder
    if flags == row["flags"]:
        return row
    keep = row["finish"] != "error" and not rules.refused(flags)  # type: ignore[arg-type]
    return {**row, "flags": flags, "keep": keep}


def _pictures(rows: Iterable[Row]) -> Counter[str]:
    return Counter({row["index"]: row["image_sha256"] for row in rows}.values())


@dataclass(frozen=True)
class Seen:
    """A picture to be swapped."""

    sha256: str
    image: Image.Image


def pictures_of(recipe: GenerateRecipe, shard: Shard, fit: Fit | None = None) -> list[Seen]:
    """Return different pictures of a shard's beginning, no neighbours; fewer than `PICTURES` if it is short."""
    found: dict[str, Seen] = {}
    for sample in islice(recipe.source.open().samples(shard), 0, PICTURES * APART, APART):
        if isinstance(sample, Sample):
            try:
                picture = picture_of(sample.image, recipe.decode_profile, recipe.max_pixels, sample.name, fit)
            except ImageError:
                continue
            found[picture.sha256] = Seen(picture.sha256, picture.image)
    return list(found.values())


def blind(captioner: Captioner, member: Member, pictures: Sequence[Seen], seed: int, shard: str) -> list[Alarm]:
    """Return an alarm if captions do not change when pictures are swapped, the random numbers staying the same.

    Only where there are `PICTURES` pictures to judge by; one caption that changes suffices.
    """
    if len(pictures) < PICTURES or captioner.info.kind == "existing":
        return []
    said: dict[int, str] = {}
    for result in captioner.caption(_swapped(member, pictures, seed)):
        if result.draw == 0:
            said[result.index] = result.text
    if any(said[index] != said[index + 1] for index in range(0, len(said), 2)):
        return []
    line = (
        f"member {member.called} is blind: captions of {len(pictures)} pictures stayed the same when these were swapped"
    )
    return [Alarm(name="blind", member=member.called, shard=shard, text=f"{line}, such as {said[0][:80]!r}", share=1.0)]


def _swapped(member: Member, pictures: Sequence[Seen], seed: int) -> Iterator[Request]:
    """Yield two requests with each picture's random numbers: with the picture itself, and with its neighbour."""
    for number, seen in enumerate(pictures):
        stream = Stream(seed, seen.sha256, member.called)
        for place, shown in enumerate((seen, pictures[number - 1])):
            yield Request(
                index=2 * number + place,
                image=shown.image,
                stream=stream,
                decoding=member.decoding,
                prompt=member.prompt,
            )
