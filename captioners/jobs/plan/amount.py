"""How much there is to caption: images, shards, units and bytes; counted where that is possible, else as assumed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from captioners.core.errors import CaptionersError, UserError
from captioners.core.run_dir import RunDir
from captioners.data.source import Shard
from captioners.jobs.plan.calibration import Calibration, Range
from captioners.jobs.plan.data import known_bytes, known_images, said
from captioners.jobs.plan.pace import longest_of
from captioners.jobs.plan.rows import Known, Row
from captioners.jobs.recipes.generate import GenerateRecipe

UTILISATION = (0.05, 0.3)
"""What decoding gets of a GPU's peak, from small batches of a small captioner to full ones of a large; assumed."""
_INPUT = "bytes of the input"


@dataclass(frozen=True)
class Amount:
    """What is left to do."""

    images: Row
    by_captioner: tuple[Range, ...]
    """Images that each captioner still has before it."""
    shards: Row
    units: Row
    """Of one member."""
    stored: Row
    """Bytes of the input files."""

    def left(self, end: int) -> list[float]:
        """Return the images of each captioner, at the low or high end."""
        return [each[end] for each in self.by_captioner]


def assumptions(recipe: GenerateRecipe, calibration: Calibration | None, words: Sequence[str]) -> dict[str, Row]:
    """Return what is assumed, by name; `words` is what a user says otherwise, each NAME=VALUE or NAME=LOW..HIGH.

    Raises:
        UserError: a name or a value that means nothing.
    """
    reading = calibration.reading if calibration else None
    measured = reading is not None and not reading.packaged
    each, from_bytes = known_bytes(recipe.source)
    sizes = reading.stored_bytes if measured and reading else (each, each)
    number = known_images(recipe.source)
    limits = [longest_of(member) for member in recipe.members]
    rows = [
        Row("images", number, number, "images", "to caption: as the data card says", "assumed"),
        Row("bytes_per_image", *sizes, "bytes", "as stored" if measured else f"as stored: {from_bytes}", "assumed"),
        Row("images_per_shard", 10_000, 10_000, "images", "where shards cannot be counted", "assumed"),
        Row(
            "caption_tokens", min(12, *limits), max(limits), "tokens", "of captions; measured ones go before", "assumed"
        ),
        Row("bytes_per_caption", 150, 400, "bytes", "of a stored row; measured ones go before", "assumed"),
        Row("utilisation", *UTILISATION, "", "of a GPU's peak, where nothing was measured on it", "assumed"),
        Row(
            "failures_per_worker_day",
            5e-4,
            0.05,
            "",
            "arXiv 2407.21783's GPUs .. machines that may be taken",
            "assumed",
        ),
        Row("minutes_to_return", 10, 30, "min", "until a lost worker is back", "assumed"),
        Row("straggler_share", 0.01, 0.05, "", "of the workers, slow all the time", "assumed"),
        Row("straggler_factor", 1.5, 3, "", "how many times as long they take", "assumed"),
    ]
    if measured and reading:
        how = f"of {reading.samples:,} images"
        rows[1] = Row("bytes_per_image", *sizes, "bytes", how, "measured")
    found = {row.what: row for row in rows}
    for word in words:
        row = said(word, found)
        found[row.what] = row
    if found["utilisation"].high > 1 or found["straggler_share"].high > 1:
        raise UserError("--assume utilisation and straggler_share are shares, so at most 1")
    return found


def amount_of(recipe: GenerateRecipe, assumed: Mapping[str, Row], words: Sequence[str]) -> Amount:
    """Return what the recipe's source holds: counted, or by its bytes, or as `--assume images=N` says.

    Raises:
        UserError: it cannot be told how many images there are.
    """
    captioners = len(recipe.groups)
    shards = [] if any(word.partition("=")[0].strip() == "images" for word in words) else _shards(recipe)
    if not shards:
        return _assumed(recipe, assumed, captioners)
    images, how, known = _images_in(shards, assumed)
    counts = [shard.count for shard in shards if shard.count is not None]
    if known == "counted":
        number = float(sum(ceil(count / recipe.unit_samples) for count in counts))
        units = Row("units", number, number, "", f"of {recipe.unit_samples:,} images at most, of one member", known)
    else:
        units = _units(recipe, images, (len(shards), len(shards)), known)
    size = float(sum(shard.size for shard in shards))
    return Amount(
        images=Row("images", *images, "", how, known),
        by_captioner=(images,) * captioners,
        shards=Row("shards", len(shards), len(shards), "", "files of the source, or runs of 1,000", "counted"),
        units=units,
        stored=Row(_INPUT, size, size, "B", "as stored", "counted"),
    )


def _shards(recipe: GenerateRecipe) -> list[Shard]:
    try:
        return recipe.source.open().shards()[: recipe.max_shards]
    except (CaptionersError, OSError):
        return []


def _images_in(shards: Sequence[Shard], assumed: Mapping[str, Row]) -> tuple[Range, str, Known]:
    """Return how many images some shards hold, how that is known, and in one word."""
    counts = [shard.count for shard in shards]
    counted = float(sum(count for count in counts if count is not None))
    if None not in counts:
        return (counted, counted), f"in {len(shards):,} shard{'' if len(shards) == 1 else 's'}", "counted"
    size, each = sum(s.size for s in shards if s.count is None), assumed["bytes_per_image"]
    known: Known = "assumed" if each.known == "assumed" else "modelled"
    return (counted + size / each.high, counted + size / each.low), "bytes of the shards / bytes_per_image", known


def _assumed(recipe: GenerateRecipe, assumed: Mapping[str, Row], captioners: int) -> Amount:
    images, each, per = assumed["images"], assumed["bytes_per_image"], assumed["images_per_shard"]
    if not images.high:
        raise UserError(
            "source: its images cannot be counted, so say how many to plan for: --assume images=N (1.9e9, say)"
        )
    shards = (ceil(images.low / per.high), ceil(images.high / per.low))
    ends = images.low, images.high
    return Amount(
        images=Row("images", *ends, "", images.how, "assumed"),
        by_captioner=(ends,) * captioners,
        shards=Row("shards", *shards, "", "images / images_per_shard", "assumed"),
        units=_units(recipe, ends, shards, "assumed"),
        stored=Row(_INPUT, ends[0] * each.low, ends[1] * each.high, "B", "images x bytes_per_image", "assumed"),
    )


def _units(recipe: GenerateRecipe, images: Range, shards: tuple[int, int], known: Known) -> Row:
    """Return the units of one member: those that are full, and at most one more of each shard."""
    full = [ceil(number / recipe.unit_samples) for number in images]
    return Row(
        "units", max(full[0], shards[0]), full[1] + shards[1], "", "full ones, and at most one more a shard", known
    )


def left_of(run: RunDir, recipe: GenerateRecipe, assumed: Mapping[str, Row]) -> Amount:
    """Return what a run has left: the frozen shards, less the units that its ledger holds."""
    shards = [Shard(**found) for found in run.inputs()][: recipe.max_shards]
    names = {shard.path for shard in shards}
    done: Counter[str] = Counter()
    units: Counter[str] = Counter()
    ended: dict[str, int] = {}
    """Shard -> its images, where some member came to its end."""
    for entry in run.entries():
        if entry.shard in names:
            done[entry.layer] += entry.counts.read
            units[entry.layer] += 1
            if entry.last:
                ended[entry.shard] = entry.stop
    counted = [s if s.count is not None else _with(s, ended.get(s.path)) for s in shards]
    images, how, known = _images_in(counted, _by_finished(counted, assumed))
    groups = recipe.groups
    before = [min(done[member.called] for member in members) for members in groups]
    left = tuple((max(0.0, images[0] - b), max(0.0, images[1] - b)) for b in before)
    whole = _units(recipe, images, (len(shards), len(shards)), known)
    least, most = whole.low, whole.high
    first = min(units[member.called] for member in recipe.members)
    share = max(each[1] for each in left) / max(images[1], 1)
    size = share * sum(shard.size for shard in shards)
    longest = max(left, key=lambda each: each[1])
    return Amount(
        images=Row("images", *longest, "", f"left of {how}; {max(before):,} are captioned by a first member", known),
        by_captioner=left,
        shards=Row("shards", share * len(shards), share * len(shards), "", f"left of {len(shards):,}", known),
        units=Row("units", max(0, least - first), max(0, most - first), "", "left, of one member", known),
        stored=Row(_INPUT, size, size, "B", "left, as stored", known),
    )


def _with(shard: Shard, count: int | None) -> Shard:
    return Shard(path=shard.path, size=shard.size, stamp=shard.stamp, count=count)


def _by_finished(shards: Sequence[Shard], assumed: Mapping[str, Row]) -> dict[str, Row]:
    """Return bytes of an image as the shards whose end is known have them, where there are any."""
    known = [shard for shard in shards if shard.count]
    if not known:
        return dict(assumed)
    each = sorted(shard.size / shard.count for shard in known if shard.count)
    return {**assumed, "bytes_per_image": Row("bytes_per_image", each[0], each[-1], "bytes", "", "measured")}
