"""The page of a comparison: worst regressions first, then the biggest gains, then a random sample."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import isnan

from PIL import Image

from captioners.core.errors import ImageError
from captioners.core.seeds import uniforms
from captioners.jobs.compare.findings import Comparison, Row, shown
from captioners.jobs.compare.images import ComparedImage, general_images, opened
from captioners.jobs.compare.scores import LENGTH
from captioners.metrics.alignment import CLIP_SCORE
from captioners.metrics.metric import Metric
from captioners.metrics.references import CIDER_D, ROUGE_L
from captioners.report.comparison import Card, ComparisonPage, Group, Score, render_comparison
from captioners.report.page import Picture

EACH = 24
"""Images of a group at most."""
_SIDE, _QUALITY = 192, 74
_SHOWN: tuple[Metric, ...] = (CIDER_D, ROUGE_L, CLIP_SCORE, LENGTH)
"""Measures that stand under an image, where they are defined."""


def comparison_page(
    found: Comparison,
    images: Mapping[str, ComparedImage],
    *,
    pictures: bool = True,
    notes: Sequence[str] = (),
    provenance: Mapping[str, str] | None = None,
    each: int = EACH,
) -> str:
    """Return the page as HTML text.

    Args:
        found: what to show. images: by key, those of its rows at least. pictures: whether to show them.
        notes: sentences that a reader must know first. provenance: further facts. each: images of a group.
    """
    from captioners import __version__

    cards: dict[str, Card] = {}

    def card(row: Row) -> Card:
        if row.key not in cards:
            picture = thumbnail(images[row.key], _SIDE, _QUALITY) if pictures else Picture(key=row.key)
            cards[row.key] = Card(
                picture=picture,
                before=row.before,
                after=row.after,
                references=row.references,
                scores=[_score(metric, row) for metric in _SHOWN if _is_defined(metric, row)],
            )
        return cards[row.key]

    groups = [
        Group(title=title, text=text, cards=[card(row) for row in rows])
        for title, text, rows in _groups(found, each)
        if rows
    ]
    if found.forgotten:
        groups.append(_forgotten(found, pictures))
    page = ComparisonPage(
        title=f"{found.before.name} against {found.after.name}",
        summary=found.sentence,
        before=found.before.name,
        after=found.after.name,
        groups=groups,
        sections=found.tables[:2],
        notes=[*notes, *_skipped(found)],
        provenance=_provenance(found) | dict(provenance or {}),
        version=__version__,
    )
    return render_comparison(page)


def thumbnail(sample: ComparedImage, side: int, quality: int) -> Picture:
    """Return a picture of at most `side` px a side as a JPEG, or why there is none."""
    try:
        image = opened(sample)[0]
    except ImageError as error:
        return Picture(key=sample.key, missing=f"No picture here: {error}")
    image = image.copy()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return Picture(key=sample.key, thumbnail=file.getvalue(), width=image.width, height=image.height)


def _forgotten(found: Comparison, pictures: bool) -> Group:
    photos = {photo.key: photo for photo in general_images()}
    table = found.forgotten_table
    cards = [
        Card(
            picture=thumbnail(photos[key], _SIDE, _QUALITY) if pictures and key in photos else Picture(key=key),
            before=before,
            after=after,
        )
        for key, before, after in found.forgotten
    ]
    return Group(title=table.title, text=" ".join(filter(None, (table.text, table.note))), cards=cards)


def _groups(found: Comparison, each: int) -> list[tuple[str, str, list[Row]]]:
    by = next((metric.name for metric in (CIDER_D, CLIP_SCORE) if _anywhere(metric, found)), None)
    groups = []
    if by is not None:
        ordered = sorted((row for row in found.rows if not isnan(row.change(by))), key=lambda row: row.change(by))
        worse = [row for row in ordered if row.change(by) < 0]
        better = [row for row in reversed(ordered) if row.change(by) > 0]
        told = f"of {len(ordered):,} images, by {by}."
        groups = [
            ("Worst regressions", f"The {_some(worse, each)} that lost most, {len(worse):,} {told}", worse[:each]),
            ("Biggest gains", f"The {_some(better, each)} that gained most, {len(better):,} {told}", better[:each]),
        ]
    drawn = sorted(found.rows, key=lambda row: float(uniforms(1, "compare", found.seed, row.key)[0]))
    text = "Chosen by hash, whatever their scores: what to expect of any image."
    return [*groups, ("Random sample", text, drawn[:each])]


def _some(rows: Sequence[Row], each: int) -> str:
    count = min(len(rows), each)
    return "one" if count == 1 else str(count)


def _anywhere(metric: Metric, found: Comparison) -> bool:
    return any(_is_defined(metric, row) for row in found.rows)


def _is_defined(metric: Metric, row: Row) -> bool:
    return metric.name in row.scores and not isnan(row.change(metric.name))


def _score(metric: Metric, row: Row) -> Score:
    before, after = row.scores[metric.name]
    change = after - before
    up = (change > 0) == (metric.better == "higher")
    return Score(
        name=metric.name,
        before=shown(metric, before),
        after=shown(metric, after),
        change=shown(metric, change, signed=True),
        better=None if metric.better == "neither" or not change else up,
    )


def _skipped(found: Comparison) -> list[str]:
    if not found.skipped:
        return []
    more = f", and {len(found.skipped) - 3:,} more" if len(found.skipped) > 3 else ""
    count = len(found.skipped)
    said = "1 image" if count == 1 else f"{count:,} images"
    return [f"{said} could not be read: {'; '.join(found.skipped[:3])}{more}"]


def _provenance(found: Comparison) -> dict[str, str]:
    facts = {"decoding of both": found.decoding, "seed": str(found.seed), "scorer": found.scorer or "none"}
    for role, side in (("before", found.before), ("after", found.after)):
        facts[role] = side.name
        facts[f"{role}: weights"] = side.weights
        facts |= {f"{role}: licence of the {part}": licence for part, licence in side.licences.items()}
    return {name: value for name, value in facts.items() if value}
