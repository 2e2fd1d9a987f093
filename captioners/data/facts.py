"""What a set is like, in numbers and lines: counts, lengths in tokens, copies, what was left out, and what looks wrong.

A set that is fine is worth a minute of reading before hours of training; most that are not fine show it here.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from captioners.data.survey import Survey
from captioners.text.tokenizer import Tokenizer

MOST_PER_WORD = 2.0
"""Tokens a word beyond which a tokenizer hardly knows the language: of CLIP's, English takes 1.1 to 1.3, French and
German 1.7 to 1.9, Russian 6."""
_MOST_CUT = 0.02
_MOST_REPEATED = 0.2
"""Share of all captions that one may have before it is said."""
_EXAMPLES, _SHOWN = 5, 3
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SIDES = re.compile(r"\b(left|right|leftmost|rightmost)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A set's numbers."""

    images: int
    captions: int
    read: int
    """Samples met: images and those skipped."""
    formats: dict[str, int]
    fewest: int
    most: int
    """Captions of an image."""
    different: int
    """Captions that differ in more than case, punctuation and spaces."""
    commonest: str
    repeated: int
    """How often the commonest caption stands there."""
    typical_tokens: float
    long_tokens: int
    """Nineteen of twenty captions have at most so many."""
    longest_tokens: int
    room: int
    """Tokens of the longest caption that the context holds."""
    cut: int
    """Captions longer than that."""
    per_word: float
    copies: int
    """Images that are another's bytes again."""
    near_groups: int
    near_images: int
    """Near-duplicates: their groups, and the images in these."""
    sides: int
    """Captions that say left or right."""
    skipped: dict[str, int]
    """Reason -> samples."""
    shown: tuple[str, ...]
    """Lines of some of them, up to three a reason."""
    examples: tuple[tuple[str, str, int], ...]
    """Key, caption and its tokens."""

    def lines(self, licence: str = "unspecified") -> list[str]:
        """Return what a person reads of a set, one fact a line."""
        left_out = []
        if self.skipped:
            left_out.append("skipped     " + ", ".join(f"{count:,} {reason}" for reason, count in self.skipped.items()))
            left_out += [f"            {line}" for line in self.shown]
        if not self.images:
            return left_out
        kinds = ", ".join(f"{count:,} {name}" for name, count in self.formats.items())
        each = f"{self.fewest} to {self.most} an image" if self.fewest != self.most else f"{self.most} an image"
        cut = f"{self.cut:,} ({self.cut / self.captions:.1%}) are cut to the context" if self.cut else "none is cut"
        copies = f"{self.copies:,} exact copies; " if self.copies else "no exact copies; "
        near = f"{self.near_images:,} images in {self.near_groups:,} groups of near-duplicates"
        found = [
            f"images      {self.images:,} of {self.read:,} samples ({kinds})",
            f"captions    {self.captions:,}, {each}; {self.different:,} different",
            f"tokens      {self.typical_tokens:.0f} in the middle, 95 % up to {self.long_tokens}, the longest "
            f"{self.longest_tokens}; {self.room} fit, {cut}; {self.per_word:.2f} a word",
            f"duplicates  {copies}{near if self.near_groups else 'no near-duplicates'}",
            f"sides       {self.sides:,} captions say left or right",
            f"licence     {licence}",
        ]
        found += [*left_out, "examples"]
        return found + [f"  {key}  [{tokens} tokens]  {text}" for key, text, tokens in self.examples]

    def warnings(self, *, flips: bool = False) -> list[str]:
        """Return what may be wrong, one finding a line; `flips`: whether pictures are mirrored at random."""
        found = []
        if self.per_word > MOST_PER_WORD:
            found.append(
                f"the tokenizer needs {self.per_word:.1f} tokens a word (English: about 1.3): it hardly knows this "
                "language, captions will be short and learnt slowly; start from a captioner made for it"
            )
        if self.cut > _MOST_CUT * self.captions:
            found.append(
                f"{self.cut / self.captions:.1%} of the captions are longer than the {self.room} tokens that fit and "
                "lose their end; a larger context_length holds them"
            )
        if self.captions > 1 and self.repeated > _MOST_REPEATED * self.captions:
            found.append(
                f"{self.repeated / self.captions:.0%} of the captions are {_short(self.commonest)!r}: is this the "
                "caption column, or a placeholder?"
            )
        if flips and self.sides:
            found.append(
                f"{self.sides:,} captions say left or right, and pictures are mirrored: they will be wrong half the "
                "time; leave out the flips"
            )
        return found

    def problem(self, ceiling: float) -> str | None:
        """Return why the set is not fit to train on, or None; `ceiling` is the share that may be skipped."""
        lost = sum(self.skipped.values())
        if not self.images:
            first = f"; the first: {self.shown[0]}" if self.shown else ""
            return f"the source holds no picture with a caption ({lost:,} samples skipped{first})"
        if problem := too_many_skipped(Counter(self.skipped).elements(), self.read, ceiling):
            return f"{problem}; the first: {self.shown[0]}. Mend them, or raise skipped_ceiling"
        if self.images > 1 and self.different == 1:
            return (
                f"all {self.captions:,} captions are {_short(self.commonest)!r}: there is nothing to learn but that "
                "sentence; is it the right caption column?"
            )
        return None


def too_many_skipped(reasons: Iterable[str], read: int, ceiling: float) -> str | None:
    """Return what is wrong if more than the share `ceiling` of the samples read was skipped, each for a reason."""
    counts = Counter(reasons)
    lost = counts.total()
    if lost <= ceiling * read:
        return None
    said = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    return (
        f"{lost:,} of {read:,} samples cannot be used ({lost / read:.1%}: {said}), more than the "
        f"{ceiling:.0%} of skipped_ceiling"
    )


def facts_of(survey: Survey, groups: Sequence[int], tokenizer: Tokenizer, context_length: int) -> Facts:
    """Return the numbers of a set; `groups` says of each item the first one that it is a near-duplicate of."""
    items = survey.items
    texts = [text for item in items for text in item.captions]
    tokens = [len(tokenizer.encode(text)) for text in texts]
    words = sum(len(_WORD.findall(text)) for text in texts)
    plain = Counter(_plain(text) for text in texts)
    commonest, repeated = plain.most_common(1)[0] if plain else ("", 0)
    sizes = Counter(groups)
    near = [size for size in sizes.values() if size > 1]
    room = context_length - 2
    per_image = [len(item.captions) for item in items]
    step = max(1, len(items) // _EXAMPLES)
    lengths = sorted(tokens) or [0]
    shown: dict[str, list[str]] = {}
    for record in survey.skipped:
        shown.setdefault(record["reason"], []).append(record["error"])
    return Facts(
        images=len(items),
        captions=len(texts),
        read=survey.read,
        formats=dict(Counter(item.format for item in items).most_common()),
        fewest=min(per_image, default=0),
        most=max(per_image, default=0),
        different=len(plain),
        commonest=next((text for text in texts if _plain(text) == commonest), ""),
        repeated=repeated,
        typical_tokens=median(lengths),
        long_tokens=lengths[int(0.95 * (len(lengths) - 1))],
        longest_tokens=lengths[-1],
        room=room,
        cut=sum(count > room for count in tokens),
        per_word=sum(tokens) / words if words else 0.0,
        copies=len(items) - len({item.sha256 for item in items}),
        near_groups=len(near),
        near_images=sum(near),
        sides=sum(bool(_SIDES.search(text)) for text in texts),
        skipped=dict(Counter(record["reason"] for record in survey.skipped).most_common()),
        shown=tuple(line for lines in shown.values() for line in lines[:_SHOWN]),
        examples=tuple(
            (item.key, _short(item.captions[0], 100), len(tokenizer.encode(item.captions[0])))
            for item in items[::step][:_EXAMPLES]
        ),
    )


def _plain(text: str) -> str:
    """Return a caption without what makes no other caption: case, punctuation, spaces, forms of a letter."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _short(text: str, most: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 3]}..."
