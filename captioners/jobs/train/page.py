"""Write the page of a training run from what the run has written down, after every evaluation and at the end."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from captioners.report.curve import Curve, curve
from captioners.report.training import Spoken, TrainingPage, render_training

PAGE = "training.html"
_SIDE = 192
_REFERENCES = 5
_COLUMNS = ("after step", "CIDEr-D", "loss", "different captions", "commonest caption", "words")


@dataclass(frozen=True, kw_only=True)
class ValImage:
    """A val image on the page."""

    key: str
    image: Image.Image
    references: Sequence[str]


def write_page(
    directory: Path,
    looks: Sequence[Mapping[str, Any]],
    shown: Sequence[ValImage],
    *,
    steps: int,
    numbers: Mapping[str, str],
    answer: str = "",
    notes: Sequence[str] = (),
    running: bool = True,
) -> Path:
    """Write `training.html` of a run and return where it lies; whoever reads it meanwhile sees the old one or the new.

    `looks` are the lines of `evaluations.jsonl`, with the captions of the `shown` images in their order.
    """
    from captioners import __version__

    records = _records(directory / "metrics.jsonl")
    page = TrainingPage(
        title=directory.resolve().name,
        summary=_summary(records, looks, steps, running),
        running=running,
        answer=answer,
        notes=notes,
        numbers=numbers,
        curves=_curves(records, looks),
        columns=_COLUMNS if looks else (),
        rows=[_row(look) for look in looks],
        spoken=[_spoken(number, image, looks) for number, image in enumerate(shown)],
        recipe=(directory / "recipe.yaml").read_text(encoding="utf-8"),
        version=__version__,
    )
    target = directory / PAGE
    draft = target.with_name(f".{PAGE}.{os.getpid()}")
    draft.write_text(render_training(page), encoding="utf-8")
    draft.replace(target)
    return target


def _records(file: Path) -> list[dict[str, Any]]:
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def _summary(
    records: Sequence[Mapping[str, Any]], looks: Sequence[Mapping[str, Any]], steps: int, running: bool
) -> str:
    done = max([0, *(record["step"] for record in records), *(look["step"] for look in looks)])
    where = f"{done:,} of {steps:,} steps are done" if running else f"It ended after {done:,} of {steps:,} steps"
    if not looks:
        return f"{where}."
    best = max(looks, key=lambda look: (look["cider_d"], -look["step"]))
    return f"{where}; CIDEr-D on val is best after step {best['step']:,}, {best['cider_d']:.3f}."


def _curves(records: Sequence[Mapping[str, Any]], looks: Sequence[Mapping[str, Any]]) -> list[Curve]:
    def of(rows: Iterable[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
        return [(row["step"], row[name]) for row in rows]

    contrastive = any(record["contrastive"] for record in records)
    drawn = [
        curve("Caption loss, nats a token", [("train", of(records, "caption")), ("val", of(looks, "loss"))]),
        curve("CIDEr-D on val", [("CIDEr-D", of(looks, "cider_d"))], digits=3),
        curve("Different captions on val, share", [("different", of(looks, "distinct"))]),
        curve("Contrastive loss, nats", [("train", of(records, "contrastive"))]) if contrastive else None,
        curve("Gradient norm before clipping", [("gradient", of(records, "grad_norm"))]),
        curve("Learning rate", [("lr", of(records, "lr"))], digits=7),
    ]
    return [found for found in drawn if found is not None]


def _row(look: Mapping[str, Any]) -> list[str]:
    return [
        f"{look['step']:,}",
        f"{look['cider_d']:.3f}",
        f"{look['loss']:.3f}",
        f"{look['distinct']:.0%}",
        f"{look['commonest']:.0%}",
        f"{look['length']:.1f}",
    ]


def _spoken(number: int, shown: ValImage, looks: Sequence[Mapping[str, Any]]) -> Spoken:
    said: list[tuple[str, str]] = []
    for look in looks:
        text = look["captions"][number] if number < len(look["captions"]) else None
        if text is not None and (not said or said[-1][1] != text):
            said.append((f"{look['step']:,}", text))
    image, file = shown.image.copy(), BytesIO()
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    image.save(file, "JPEG", quality=80)
    return Spoken(
        key=Path(shown.key).name,
        thumbnail=file.getvalue(),
        width=image.width,
        height=image.height,
        references=list(shown.references[:_REFERENCES]),
        said=said,
    )
