"""Write a page to look at a run: captions under their images, counts, lengths, quarantine, provenance."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from captioners.core.entry import Counts, Entry
from captioners.core.errors import CaptionersError, UserError
from captioners.core.run_dir import RunDir, open_run
from captioners.core.storage import Place
from captioners.data.run_pictures import RunPictures
from captioners.images.decode import read_image
from captioners.jobs.runs.report_data import Gathered, gather
from captioners.jobs.runs.words import captioner_name, decoding_words, layer_provenance, run_provenance
from captioners.report.histogram import histograms
from captioners.report.page import Caption, Mark, Member, Page, Picture, Reason, Section, render

MOST_BYTES = 10_000_000
"""Of the page, pictures and all."""
MOST_IMAGES = 2000
_SIDE, _FIRST = 192, 8
_QUALITIES = (74, 55, 38)
"""JPEG qualities, tried in turn until the page is small enough; then images are left out."""

Judge = Callable[[Mapping[str, Any]], Mark | None]
"""What a row's caption is marked with; None: no mark."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """Where the page is and what is on it."""

    path: str
    size: int
    """Bytes."""
    images: int
    missing: int
    """Images of these that could not be shown."""
    first: Sequence[Picture] = ()
    """The first few of them, for where a page cannot be shown."""


def report(
    run: str | Path | RunDir,
    out: str | Path | None = None,
    *,
    images: int = 200,
    pictures: bool = True,
    seed: int = 0,
    notes: Sequence[str] = (),
    sections: Sequence[Section] = (),
    judge: Judge = lambda _: None,
) -> Written:
    """Write the page of a run to `out` (default: `report.html` in the run).

    Args:
        run: a run, or what names one.
        images: how many, chosen by a hash with `seed`.
        pictures: whether to show them; captions stand there in any case.
        notes: sentences that a reader must know first. sections: tables to add. judge: marks captions.

    Raises:
        NotFoundError: no such run. UserError: the run is damaged, has no captions yet, or `out` cannot be written.
    """
    found = run if isinstance(run, RunDir) else open_run(run)
    if not 1 <= images <= MOST_IMAGES:
        raise UserError(f"--images {images}: a page shows 1 to {MOST_IMAGES} images")
    entries = list(found.entries())
    if not entries:
        raise UserError(f"{found.url}: nothing is captioned yet; run the same `captioners generate` again, then look")
    gathered = gather(found, entries, images, seed)
    small, missing = _pictures(found, gathered, pictures)
    plain = _page(found, entries, gathered, notes, sections)
    text, count = _fitted(
        lambda quality, count: _with_pictures(
            plain, gathered, [_picture(sample, small, quality, judge) for sample in gathered.samples[:count]]
        ),
        len(gathered.samples),
    )
    path = _write(found, out, text)
    first = [_picture(sample, small, _QUALITIES[0], judge) for sample in gathered.samples[:_FIRST]]
    return Written(path=path, size=len(text), images=count, missing=missing, first=first)


def _fitted(page_of: Callable[[int, int], Page], count: int) -> tuple[bytes, int]:
    """Return the page, small enough, and how many images are on it."""
    text = b""
    for quality in _QUALITIES:
        text = render(page_of(quality, count)).encode()
        if len(text) <= MOST_BYTES:
            return text, count
    while len(text) > MOST_BYTES and count > 1:
        count = max(1, min(count - 1, int(count * 0.95 * MOST_BYTES / len(text))))
        text = render(page_of(_QUALITIES[-1], count)).encode()
    return text, count


def _write(run: RunDir, out: str | Path | None, text: bytes) -> str:
    if out is None:
        run.place.write("report.html", text)
        return run.place.at("report.html")
    target = Path(out).expanduser()
    if target.is_dir():
        target /= "report.html"
    try:
        Place(target.parent).write(target.name, text)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}); choose another --out") from None
    return str(target)


def _pictures(run: RunDir, gathered: Gathered, wanted: bool) -> tuple[dict[int, Image.Image | str], int]:
    """Return a thumbnail for each sample by its place, or the reason why there is none."""
    if not wanted:
        return {}, 0
    source, shown = RunPictures(run), dict[int, Image.Image | str]()
    for sample in gathered.samples:
        row = next(iter(sample["rows"].values()))[0]
        try:
            image = read_image(source.image(row), name=f"{row['shard']}: {row['key']}").image
        except (CaptionersError, OSError) as error:
            shown[id(sample)] = f"No picture here: {error}"
            continue
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        shown[id(sample)] = image
    return shown, sum(isinstance(found, str) for found in shown.values())


def _picture(sample: Mapping[str, Any], shown: Mapping[int, Image.Image | str], quality: int, judge: Judge) -> Picture:
    found = shown.get(id(sample), "")
    captions = {
        member: [
            Caption(
                draw=row["draw"],
                text=row["text"],
                logprob=row["logprob"],
                flags=tuple(row["flags"]),
                refused=not row["keep"],
                mark=judge(row),
            )
            for row in sorted(rows, key=lambda row: int(row["draw"]))
        ]
        for member, rows in sample["rows"].items()
    }
    known = {"key": sample["key"], "shard": sample["shard"], "captions": captions}
    if isinstance(found, str):
        return Picture(**known, missing=found)
    file = BytesIO()
    found.save(file, "JPEG", quality=quality, optimize=True)
    return Picture(**known, thumbnail=file.getvalue(), width=found.width, height=found.height)


def _page(
    run: RunDir, entries: Sequence[Entry], gathered: Gathered, notes: Sequence[str], sections: Sequence[Section]
) -> Page:
    """Return the page without its pictures."""
    from captioners import __version__

    members = _members(run, entries, gathered)
    quarantine = _quarantine(run)
    name = run.url.rstrip("/").rpartition("/")[2]
    return Page(
        title=Path(run.url).resolve().name if run.place.local else name,
        summary=_summary(members, sum(reason.count for reason in quarantine)),
        members=members,
        pictures=(),
        pictures_about="",
        quarantine=quarantine,
        sections=sections,
        notes=notes,
        provenance=run_provenance(run, entries),
        recipe=run.recipe_text() if run.place.exists("recipe.yaml") else "",
        version=__version__,
    )


def _with_pictures(plain: Page, gathered: Gathered, pictures: Sequence[Picture]) -> Page:
    return replace(plain, pictures=pictures, pictures_about=_about_pictures(gathered, pictures))


def _summary(members: Sequence[Member], unreadable: int) -> str:
    rows, read = sum(member.rows for member in members), max(member.read for member in members)
    who = members[0].name if len(members) == 1 else f"{len(members)} members"
    lost = f" {unreadable:,} could not be read." if unreadable else ""
    return f"{rows:,} captions by {who}, of {read:,} samples read.{lost}"


def _about_pictures(gathered: Gathered, pictures: Sequence[Picture]) -> str:
    part = f" of {gathered.images:,}" if len(pictures) < gathered.images else ""
    chosen = ", chosen by hash" if part else ""
    some = (
        f" Read for this page: {gathered.rows_read:,} of {gathered.rows:,} captions, in whole units chosen by hash."
        if gathered.rows_read < gathered.rows
        else ""
    )
    return f"{len(pictures):,}{part} images{chosen}.{some}"


def _members(run: RunDir, entries: Sequence[Entry], gathered: Gathered) -> list[Member]:
    layers = run.layers()
    units: dict[str, list[Entry]] = {layer.name: [] for layer in layers}
    for entry in entries:
        units[entry.layer].append(entry)
    drawings = histograms([gathered.lengths.get(layer.name, {}) for layer in layers])
    members = []
    for layer, drawing in zip(layers, drawings, strict=True):
        counts = sum((entry.counts for entry in units[layer.name]), Counts())
        flags: Counter[str] = Counter()
        for entry in units[layer.name]:
            flags.update(entry.flags)
        if gathered.refused[layer.name] and gathered.rows_read == gathered.rows:
            flags["refused"] = gathered.refused[layer.name]
        problems = [problem for entry in units[layer.name] if (problem := entry.counts.problem(layer.draws))]
        draws = f"{layer.draws} draw{'' if layer.draws == 1 else 's'}"
        about = [captioner_name(layer), decoding_words(layer.meaning.get("decoding")), draws]
        members.append(
            Member(
                name=layer.name,
                about=" · ".join(part for part in about if part),
                read=counts.read,
                captioned=counts.captioned,
                filtered=counts.filtered,
                quarantined=counts.quarantined,
                rows=counts.rows,
                flags=dict(flags.most_common()),
                problem=problems[0] if problems else "",
                histogram=drawing,
                provenance=layer_provenance(layer),
            )
        )
    return members


def _quarantine(run: RunDir) -> list[Reason]:
    examples: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for record in run.quarantine():
        counts[record["reason"]] += 1
        examples.setdefault(record["reason"], record["error"])
    return [Reason(name=name, count=count, example=examples[name]) for name, count in counts.most_common()]
