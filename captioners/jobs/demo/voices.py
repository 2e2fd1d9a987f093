"""From the alt-text captioner to each voice: the same held-out scenes captioned before and after, as one table.

Two answers beside each other: CIDEr-D, against captions of the scene in that voice, sees the manner, too; claims true
and facts told, against the scene itself, see what is said alone. Both captioners are decoded greedily.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np

from captioners.data.source import Sample, Source
from captioners.jobs.compare.findings import ends_words, shown
from captioners.jobs.demo.measure import PRETRAINED, Key, Layer
from captioners.metrics.faithfulness import CLAIMS_TRUE, COVERAGE, Judged, coverage_of
from captioners.metrics.paired import Difference, Numbers, difference, difference_of_sums
from captioners.metrics.references import CIDER_D, CiderD
from captioners.report.page import Section

References = Mapping[Key, Mapping[str, Sequence[str]]]
"""Shard and key of a scene -> voice -> what it says of it."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What fine-tuning on one voice changed."""

    voice: str
    references: int
    """Captions of a scene in that voice that each caption is held against."""
    cider_d: Difference
    claims: Difference
    facts: Difference
    elsewhere: float
    """CIDEr-D of the fine-tuned captions against references of other scenes: what the manner earns without looking."""


def references_of(source: Source) -> dict[Key, dict[str, list[str]]]:
    """Return what every voice says of every scene, as `captioners data draw` wrote it beside the picture."""
    return {
        (sample.shard, sample.key): sample.meta["captions"]
        for shard in source.shards()
        for sample in source.samples(shard)
        if isinstance(sample, Sample)
    }


def gain(voice: str, before: Layer, after: Layer, references: References) -> Gain:
    """Compare two captioners' greedy captions, one a scene, of the scenes that both have captioned.

    The other scene whose references a caption is held against is half the set away.
    """
    one, other = ({key: place for place, key in enumerate(layer.keys)} for layer in (before, after))
    keys = [key for key in one if key in other]
    told = [references[key][voice] for key in keys]
    first, then = [before.captions[one[key]][0] for key in keys], [after.captions[other[key]][0] for key in keys]
    sides = [before.own[one[key]] for key in keys], [after.own[other[key]] for key in keys]
    score, half = CiderD(told), len(keys) // 2
    elsewhere = score([*then[half:], *then[:half]])
    return Gain(
        voice=voice,
        references=min(map(len, told), default=0),
        cider_d=difference(CIDER_D, score(first), score(then)),
        claims=difference_of_sums(CLAIMS_TRUE, _claims(sides[0]), _claims(sides[1]), _ratio),
        facts=difference(COVERAGE, _told(sides[0]), _told(sides[1])),
        elsewhere=float(elsewhere.mean()) if len(elsewhere) else nan,
    )


def gains(layers: Mapping[str, Layer], voices: Sequence[str], references: References) -> list[Gain]:
    """Return each voice's gain over the captioner that it was made from."""
    before = layers[f"{PRETRAINED}-greedy"]
    return [gain(voice, before, layers[f"{voice}-greedy"], references) for voice in voices]


def _claims(images: Sequence[Judged]) -> Numbers:
    """Return each image's true claims and claims read, float64 [B, 2]."""
    read = [[claim.true for v in image.verdicts for claim in v.claims if claim.true is not None] for image in images]
    return np.array([(sum(map(bool, true)), len(true)) for true in read], dtype=np.float64).reshape(len(read), 2)


def _told(images: Sequence[Judged]) -> list[float]:
    """Return the share of each image's facts that its caption tells."""
    return [coverage_of(image, 1) for image in images]


def _ratio(sums: Numbers) -> Numbers:
    parts, wholes = sums[..., 0], sums[..., 1]
    return np.divide(parts, wholes, out=np.full_like(wholes, nan), where=wholes > 0)


def section(found: Sequence[Gain]) -> Section:
    """Return the table of the page."""
    one = found[0]
    return Section(
        title="From the alt-text captioner to each voice",
        text=f"{one.cider_d.images:,} held-out scenes, one greedy caption of each, before → after fine-tuning. CIDEr-D "
        f"(0 to 10) holds it against {one.references} captions of the scene in that voice, so it sees the manner, too; "
        "claims true and facts told see the scene alone.",
        columns=("voice", "CIDEr-D", "better?", "CIDEr-D of other scenes", "claims true", "facts told"),
        rows=[
            (
                gain.voice,
                _change(gain.cider_d),
                gain.cider_d.verdict,
                shown(CIDER_D, gain.elsewhere),
                _change(gain.claims),
                _change(gain.facts),
            )
            for gain in found
        ],
        note="In brackets: the 95 % interval of the change, by a paired bootstrap over images; “better?” goes by "
        "CIDEr-D's. CIDEr-D of other scenes: the fine-tuned captions against the references of other scenes, which is "
        "what the manner earns without looking. CIDEr-D weighs words by how rare they are in a voice: it is not "
        "comparable between voices. A voice tells as many facts as its annotator does.",
    )


def _change(one: Difference) -> str:
    """Return '0.31 → 0.92 [+0.51, +0.72]'."""
    return f"{shown(one.metric, one.before)} → {shown(one.metric, one.after)} {ends_words(one)}"


def markdown(table: Section) -> str:
    """Return a table of the page as Markdown, its text above and its note below."""
    rows = [table.columns, ["---"] * len(table.columns), *table.rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n\n".join([table.text, "\n".join(lines), table.note]) + "\n"


def as_json(found: Sequence[Gain]) -> list[dict[str, Any]]:
    """Return the gains as JSON-able values; what is not defined is null."""
    return [
        {
            "voice": gain.voice,
            "references": gain.references,
            "measures": [one.as_json() for one in (gain.cider_d, gain.claims, gain.facts)],
            "cider_d_of_other_scenes": None if isnan(gain.elsewhere) else gain.elsewhere,
        }
        for gain in found
    ]


def write(folder: Path, found: Sequence[Gain], notice: str) -> None:
    """Write the table as `voices.md`, for a README, and as `voices.json`."""
    text = f"{markdown(section(found))}\n{notice[0].upper()}{notice[1:]}.\n"
    (folder / "voices.md").write_text(text, encoding="utf-8")
    about = {"notice": notice, "decoding": "greedy", "voices": as_json(found)}
    (folder / "voices.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
