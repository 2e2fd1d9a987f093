"""What a comparison found, in words: the one sentence, the tables beside it, and the same as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from captioners.jobs.compare.scores import LENGTH, MATCHED, Scores
from captioners.metrics.metric import Metric
from captioners.metrics.paired import FEWEST, Difference, Verdict
from captioners.metrics.references import CIDER_D
from captioners.metrics.tokens import TOKENIZER
from captioners.report.page import Section

_FIXED = "\u00a0"  # a space at which no line is broken


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two."""

    name: str
    weights: str = ""
    """Digest of its weights; empty for captions of unknown origin."""
    licences: Mapping[str, str] = field(default_factory=dict)
    warning: str = ""
    """What must be known of its captions of pictures at large."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image."""

    key: str
    before: str
    after: str
    references: tuple[str, ...]
    scores: Mapping[str, tuple[float, float]]
    """Metric -> before and after; nan where it is not defined."""

    def change(self, metric: str) -> float:
        """How much the image gained by a metric."""
        before, after = self.scores[metric]
        return after - before


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was found; `sentence` is the answer, `tables` and `rows` are what it rests on."""

    before: Side
    after: Side
    scores: Scores
    rows: tuple[Row, ...]
    scorer: str = ""
    """The frozen model behind CLIPScore and self-retrieval; empty: none was given."""
    decoding: str = ""
    """In words, the same for both."""
    seed: int = 0
    images: str = "test images"
    """What the images are called."""
    skipped: tuple[str, ...] = ()
    """Images that could not be read, each with its reason."""
    forgotten: tuple[tuple[str, str, str], ...] = ()
    """A fixed general set: key, caption before, caption after."""

    @property
    def main(self) -> Difference:
        """CIDEr-D, which the verdict rests on."""
        return self.scores.differences[CIDER_D.name]

    @property
    def verdict(self) -> Verdict:
        """YES, NO or CAN'T TELL."""
        return self.main.verdict

    @property
    def sentence(self) -> str:
        """The answer."""
        return f"Did it get better? {self.verdict}: {self._why()}"

    def _why(self) -> str:
        main, count = self.main, len(self.rows)
        if not any(row.references for row in self.rows):
            return f"none of {_number(count, self.images)} has a reference to be held against"
        if isnan(main.before):
            return f"CIDEr-D needs references of two {self.images} at least, and one has any"
        if all(row.before == row.after for row in self.rows):
            same = f"all {count:,} captions are" if count > 1 else "the caption is"
            return f"{same} the same as before, CIDEr-D {main.after:.2f}"
        same = "same references and decoding" if self.decoding else "same references"
        said = f"CIDEr-D {change_words(CIDER_D, main)} on {main.images:,} {self.images} ({same})"
        if main.images < FEWEST:
            return f"{said}; fewer than {FEWEST} images say nothing certain"
        return f"{said}; 95 % interval by paired bootstrap over images"

    @property
    def style(self) -> str:
        """How much of the difference goes with length, in a sentence."""
        main, at_length = self.main, self.scores.differences[MATCHED.name]
        if isnan(at_length.before):
            return "Without references there is nothing to say of length."
        said = (
            f"With each pair of captions cut to the words of its shorter one, CIDEr-D is "
            f"{change_words(MATCHED, at_length)}: {at_length.verdict}."
        )
        if main.verdict != "YES":
            return said
        if at_length.verdict == "CAN'T TELL":
            return f"{said} Whether any of the gain is in the words chosen cannot be told."
        kept = min(1.0, max(0.0, at_length.change / main.change))
        if kept in (0.0, 1.0):
            return f"{said} So {'all' if kept else 'none'} of the gain is in the words chosen."
        share = f"{100 * kept:.0f}{_FIXED}%"
        return f"{said} So {share} of the gain is in the words chosen; the rest goes with their number."

    @property
    def scorer_note(self) -> str:
        """Which frozen model scored, or that none did."""
        if self.scorer:
            return (
                f"CLIPScore and self-retrieval by {self.scorer}, frozen, neither of the two; self-retrieval among "
                f"{len(self.rows):,} images."
            )
        return "No CLIPScore and no self-retrieval: no frozen scorer was given (scorer: NAME)."

    @property
    def tables(self) -> list[Section]:
        """The tables beside the sentence."""
        found = [self.measures_table, self.length_table]
        return [*found, self.forgotten_table] if self.forgotten else found

    @property
    def measures_table(self) -> Section:
        """Every measure with its interval."""
        rows = [
            (
                name,
                shown(one.metric, one.before),
                shown(one.metric, one.after),
                shown(one.metric, one.change, signed=True),
                ends_words(one),
                _better(one),
            )
            for name, one in self.scores.differences.items()
            if not isnan(one.before)
        ]
        return Section(
            title="Measures",
            text=self.scorer_note,
            columns=("measure", self.before.name, self.after.name, "change", "95 % interval", "better?"),
            rows=rows,
            note=f"Means over images (BLEU-4: of the whole set); words by {TOKENIZER}, not by the tokenizer of papers. "
            "The interval is a paired bootstrap over images, so what is hard for both cancels out. Degenerate: empty, "
            "too short, going round in circles, or no text. Shared: the caption stands under another image, too.",
        )

    @property
    def length_table(self) -> Section:
        """How much of the difference goes with length; sentences alone."""
        length = self.scores.differences[LENGTH.name]
        references = self.scores.reference_length
        lengths = (shown(LENGTH, length.before), shown(LENGTH, length.after))
        told = "" if isnan(references) else f" The references have {references:.1f}."
        return Section(
            title="How much of it is length",
            text=f"Captions have {lengths[0]} words before and {lengths[1]} after.{told} {self.style}",
            note="CIDEr-D rewards captions as long as the references; cut to equal length, both sides meet them alike.",
        )

    @property
    def forgotten_table(self) -> Section:
        """The packaged photos, side by side."""
        return Section(
            title="What was forgotten",
            text="The packaged photos, captioned by both: what the first knew of the world at large.",
            note=" ".join(
                f"{warning}." for warning in dict.fromkeys((self.before.warning, self.after.warning)) if warning
            ),
            columns=("photo", self.before.name, self.after.name),
            rows=[(key, before or "(empty)", after or "(empty)") for key, before, after in self.forgotten],
            wordy=True,
        )

    def as_json(self, *, rows: bool = True) -> dict[str, Any]:
        """Return all of it as JSON-able values; what is not defined is null. `rows`: the images, too."""
        found: dict[str, Any] = {
            "sentence": self.sentence,
            "verdict": self.verdict,
            "images": len(self.rows),
            "before": {"name": self.before.name, "weights_digest": self.before.weights},
            "after": {"name": self.after.name, "weights_digest": self.after.weights},
            "decoding": self.decoding,
            "seed": self.seed,
            "tokenizer": TOKENIZER,
            "scores": [one.as_json() for one in self.scores.differences.values()],
            "reference_length": _null(self.scores.reference_length),
            "style": self.style,
            "scorer": self.scorer or None,
            "scorer_note": self.scorer_note,
            "skipped": list(self.skipped),
            "forgotten": [dict(zip(("key", "before", "after"), one, strict=True)) for one in self.forgotten],
        }
        return found | ({"rows": [_row_json(row) for row in self.rows]} if rows else {})


def shown(metric: Metric, value: float, *, signed: bool = False) -> str:
    """Return a metric's value as it is printed, shares as percent; a dash where it is not defined."""
    if isnan(value):
        return "–"
    plus = "+" if signed else ""
    if metric.unit == "share":
        return f"{100 * value:{plus}.1f}{_FIXED}%"
    return f"{value:{plus}.{1 if metric.unit == 'words' else 2}f}"


def ends_words(one: Difference) -> str:
    """Return '[+0.51, +0.72]', or a dash where there is no interval."""
    if isnan(one.low):
        return "–"
    return f"[{shown(one.metric, one.low, signed=True)}, {shown(one.metric, one.high, signed=True)}]"


def change_words(metric: Metric, one: Difference) -> str:
    """Return '0.31 -> 0.92, +0.61 [+0.51, +0.72]'."""
    ends = "" if isnan(one.low) else f" {ends_words(one)}"
    return f"{shown(metric, one.before)} -> {shown(metric, one.after)}, {shown(metric, one.change, signed=True)}{ends}"


def _better(one: Difference) -> str:
    if one.metric.better == "neither":
        return "–"
    return "the same" if one.low == one.high == 0 else one.verdict.lower()


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}"


def _row_json(row: Row) -> dict[str, Any]:
    scores = {name: [_null(value) for value in pair] for name, pair in row.scores.items()}
    return {
        "key": row.key,
        "before": row.before,
        "after": row.after,
        "references": list(row.references),
        "scores": scores,
    }


def _null(value: float) -> float | None:
    return None if isnan(value) else float(value)


def rows_of(
    keys: Sequence[str],
    before: Sequence[str],
    after: Sequence[str],
    references: Sequence[Sequence[str]],
    scores: Scores,
) -> tuple[Row, ...]:
    """Return one row for each image."""
    images = zip(keys, before, after, references, strict=True)
    return tuple(
        Row(
            key=key,
            before=one,
            after=other,
            references=tuple(told),
            scores={name: (float(pair[0][at]), float(pair[1][at])) for name, pair in scores.per_image.items()},
        )
        for at, (key, one, other, told) in enumerate(images)
    )
