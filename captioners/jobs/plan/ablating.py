"""Say what an ablation will do before it runs: the matrix of its arms, what exists of it, hours and bytes of the rest.

Nothing is loaded. Hours rest on seconds a step and a caption, which are assumed for two CPU cores and the packaged
captioner until this ablation has made some itself: then they are its own. Where a recipe of `finetune` names its GPUs,
its hours are those that `captioners plan` models for them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from captioners.core import sums
from captioners.core.entry import Counts
from captioners.core.errors import CaptionersError
from captioners.core.recipe import Recipe
from captioners.core.run_dir import RunDir
from captioners.data.webdataset_source import WebdatasetSource
from captioners.jobs.ablate.book import Book
from captioners.jobs.ablate.captioners import finetune_recipe, folder_of
from captioners.jobs.ablate.folder import PROBE, STUDENTS, TEACHER, output_of
from captioners.jobs.ablate.layers import Batch, batches
from captioners.jobs.plan.data import said
from captioners.jobs.plan.reinforcing import WIDEST, width_of
from captioners.jobs.plan.rows import Plan, Row, Section
from captioners.jobs.plan.training import training_plan
from captioners.jobs.probe.results import USED, read
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.jobs.recipes.ablate import Row as ArmRow
from captioners.jobs.recipes.arms import Drawing, Trained
from captioners.jobs.recipes.probe import TINY
from captioners.reinforcement.sizes import added_bytes

_HOUR = 3600
_ORACLE = int(TINY["embed_dim"])
"""Width of an embedding by the teacher of the drawn world."""
_CAPTION_BYTES = 200
"""Of a caption in a layer and in a shard."""


@dataclass(frozen=True)
class _Left:
    """What an ablation has before it, and what that rests on."""

    recipe: AblateRecipe
    out: Path
    assumed: dict[str, Row]
    trainings: tuple[Row, ...]
    layers: tuple[Row, ...]
    """Hours of each layer's captions that are not there."""
    students: dict[str, int]
    """Arm -> students that are judged."""


def ablating_plan(read: Recipe, assume: Sequence[str] = ()) -> Plan:
    """Return what an ablation comes to; raise UserError for an assumption that means nothing, or a wrong recipe."""
    recipe = read.options
    assert isinstance(recipe, AblateRecipe)
    out = output_of(recipe, read.path.stem)
    rows = list(recipe.rows().values())
    drawn = batches(recipe, rows)
    assumed = {row.what: row for row in _assumptions(recipe, out, drawn)}
    for word in assume:
        row = said(word, assumed)
        assumed[row.what] = row
    left = _Left(
        recipe,
        out,
        assumed,
        tuple(_trainings(recipe, out, rows, assumed)),
        tuple(row for batch in drawn for row in _layers(batch, out, assumed)),
        _students(out),
    )
    sections = [
        Section("the matrix: hours of each arm's students that are left", tuple(_arms(left, rows))),
        Section("captioners: hours that are left", left.trainings),
        Section("captions, each drawn once: hours that are left", left.layers),
        Section("in all", tuple(_sums(left, rows))),
        Section("disk", tuple(_disk(left, drawn))),
        Section("assumed (--assume NAME=VALUE or NAME=LOW..HIGH)", tuple(assumed.values())),
    ]
    own = any(row.known == "measured" for row in assumed.values())
    basis = "seconds in part as it has taken so far" if own else "seconds assumed, for two CPU cores"
    return Plan(read.name, read.job, "one machine", basis, tuple(one for one in sections if one.rows))


def _arms(left: _Left, rows: Sequence[ArmRow]) -> Iterator[Row]:
    probe = left.recipe.probe
    wanted = len(probe.seeds) * len(probe.distillation_weights) if probe is not None else 0
    missing = {row.what for row in (*left.trainings, *left.layers) if row.high}
    for row in rows:
        there = min(wanted, left.students.get(row.name, 0))
        said = [f"students {there} of {wanted}" if wanted else "measured alone"]
        for what, names in (
            ("captioner", {one.trained for one in row.members}),
            ("captions of", {one.layer for one in row.members}),
        ):
            if lacking := sorted(names & missing):
                said.append(f"missing: {what} {lacking[0]}" + (f" and {len(lacking) - 1} more" if lacking[1:] else ""))
        how = "; ".join(said if said[1:] or not row.members else [*said, "captions exist"])
        steps = 0 if probe is None or _elsewhere(left) else (wanted - there) * probe.steps
        yield _hours(row.name, steps, left, "student_step", how)


def _elsewhere(left: _Left) -> bool:
    return left.recipe.probe is not None and left.recipe.probe.kind == "external"


def _hours(what: str, count: float, left: _Left, each: str, how: str) -> Row:
    row = left.assumed[f"seconds_per_{each}"]
    return Row(what, count * row.low / _HOUR, count * row.high / _HOUR, "h", how, row.known)


def _trainings(recipe: AblateRecipe, out: Path, rows: Sequence[ArmRow], assumed: dict[str, Row]) -> Iterator[Row]:
    for name, member in {one.trained: one for row in rows for one in row.members}.items():
        given = recipe.captioners[member.captioner]
        if not isinstance(given, Trained):
            continue
        if (folder_of(out, name) / "captioner").is_dir():
            yield Row(name, 0, 0, "h", "exists", "counted")
            continue
        yield _training(name, given, member, folder_of(out, name), assumed["seconds_per_training_step"])


def _training(name: str, given: Trained, member: Drawing, folder: Path, each: Row) -> Row:
    options = finetune_recipe(given, member, folder)
    if options.hardware is not None:
        made = training_plan(Recipe(given.finetune, folder, "finetune", options, has_smoke=False))
        hours = made.row(made.fleet)
        return Row(name, hours.low, hours.high, "h", f"missing: {given.finetune} on {made.fleet}", "modelled")
    steps = options.stop_at or options.steps
    if steps is None:
        return Row(name, 0, float("inf"), "h", f"missing: {given.finetune}, in epochs of a set that is not read")
    how = f"missing: {given.finetune}, {steps:,} steps"
    return Row(name, steps * each.low / _HOUR, steps * each.high / _HOUR, "h", how, each.known)


def _layers(batch: Batch, out: Path, assumed: dict[str, Row]) -> Iterator[Row]:
    there = _there(batch, out)
    draws = {layer.name: layer.draws for layer in RunDir(batch.folder(out)).layers()}
    images, each = assumed["images"], assumed["seconds_per_caption"]
    for name, member in batch.members.items():
        made = there[name].rows if name in there and draws[name] >= member.draws else 0
        low, high = (max(0.0, end * member.draws - made) for end in (images.low, images.high))
        how = f"{made:,} of {images.high * member.draws:,.0f} captions exist"
        yield Row(name, low * each.low / _HOUR, high * each.high / _HOUR, "h", how, each.known)


def _students(out: Path) -> dict[str, int]:
    """Return how many students of each arm are judged: of the setting that counts, or else of the last."""
    there = read(out / PROBE)
    counts = {one.arm: one.run for one in (*there, *read(out / PROBE, USED))}
    return Counter(one.arm for one in there if one.run == counts[one.arm])


def _sums(left: _Left, rows: Sequence[ArmRow]) -> Iterator[Row]:
    probe = left.recipe.probe
    crops = (probe is not None) * left.recipe.reinforce.n_aug
    made = any(left.out.glob("reinforced-*/shards/sizes.json")) and not any(row.high for row in left.layers)
    pictures = 0 if made else left.assumed["images"].high * crops
    asked = left.recipe.reinforce
    oracle = asked.teachers == "oracle" and crops and not (left.out / TEACHER).is_dir()
    parts: dict[str, tuple[Sequence[Row], str]] = {
        "training captioners": (left.trainings, ""),
        "drawing captions": (left.layers, ""),
        "training the oracle": (
            (_hours("", oracle * asked.oracle_steps, left, "student_step", ""),),
            f"{asked.oracle_steps:,} steps" if oracle else "none, or exists",
        ),
        "embedding": (
            (_hours("", pictures, left, "crop", ""),),
            "exists" if made else f"{pictures:,.0f} crops",
        ),
        "students": (list(_arms(left, rows)), "not counted: they are trained elsewhere" if _elsewhere(left) else ""),
    }
    for name, (of, how) in parts.items():
        yield Row(name, sum(row.low for row in of), sum(row.high for row in of), "h", how)
    every = [row for of, _ in parts.values() for row in of]
    how = f"of {len(rows)} arms; one process after another, but for workers"
    yield Row("hours", sum(row.low for row in every), sum(row.high for row in every), "h", how)


def _disk(left: _Left, drawn: Sequence[Batch]) -> Iterator[Row]:
    images, each = left.assumed["images"], left.assumed["bytes_per_image"]
    captions = sum(one.draws for batch in drawn for one in batch.members.values())
    yield Row("captions", images.low * captions * _CAPTION_BYTES, images.high * captions * _CAPTION_BYTES, "B")
    shards = images.low * each.low, images.high * each.high
    yield Row("captioned shards", len(drawn) * shards[0], len(drawn) * shards[1], "B", "copies, with their captions")
    asked = left.recipe.reinforce
    if left.recipe.probe is None:
        return
    counts = {batch.key(name): one.draws for batch in drawn for name, one in batch.members.items()}
    widths = [_ORACLE] if asked.teachers == "oracle" else [width_of(one) or WIDEST for one in asked.teachers]
    added = added_bytes(widths, asked.n_aug, counts, asked.dtype, "split", asked.image_augmentation.drawn_from())
    whole = [end + count * added for end, count in zip(shards, (images.low, images.high), strict=True)]
    yield Row("reinforced shards", whole[0], whole[1], "B", f"{added:,} bytes are added to a sample")


def _assumptions(recipe: AblateRecipe, out: Path, drawn: Sequence[Batch]) -> Iterator[Row]:
    yield from _data(recipe)
    book = Book(out, lambda _: None)
    captions = sum(row.rows for batch in drawn for row in _there(batch, out).values())
    drawing = sum(book.seconds(batch.part) or 0.0 for batch in drawn)
    steps = sum(_students(out).values()) * (recipe.probe.steps if recipe.probe is not None else 0)
    probing = sum(seconds for part, seconds in book.all() if part.startswith(STUDENTS))
    yield _rate("training_step", 0.05, 0.2, "a step of 32 pictures by the packaged captioner")
    yield _rate(
        "caption",
        0.003,
        0.02,
        "a caption by the packaged captioner, two workers; of others: plan generate/...",
        drawing,
        captions,
    )
    yield _rate("crop", 0.002, 0.02, "a crop by a tiny teacher")
    yield _rate("student_step", 0.05, 0.15, "a step of 128 pictures by a tiny student, two workers", probing, steps)


def _rate(each: str, low: float, high: float, how: str, seconds: float = 0.0, count: int = 0) -> Row:
    """Return seconds of one thing: as this ablation's own took, or assumed."""
    if seconds and count:
        return Row(f"seconds_per_{each}", seconds / count, seconds / count, "s", f"{count:,} made here", "measured")
    return Row(f"seconds_per_{each}", low, high, "s", how, "assumed")


def _data(recipe: AblateRecipe) -> Iterator[Row]:
    """Return how many images there are, and their bytes: counted where they are there, else for a user to say."""
    count, size = 0, 0
    try:
        source = recipe.source.open()
        shards = source.shards()
        size = sum(shard.size for shard in shards)
        known = [shard.count for shard in shards]
        count = sum(one or 0 for one in known) if None not in known else 0
        if not count and isinstance(source, WebdatasetSource):
            count = round(source.count(shards[0]) * size / max(1, shards[0].size))
    except CaptionersError:
        count = 0
    if count:
        yield Row("images", count, count, "", "of the source", "counted")
        yield Row("bytes_per_image", *((size / count,) * 2 if size else (3e3, 3e3)), "bytes", "as stored", "counted")
        return
    yield Row("images", 1, 1, "images", "how many is not known: a single one", "assumed")
    yield Row("bytes_per_image", 50e3, 50e3, "bytes", "as stored: a guess", "assumed")


def _there(batch: Batch, out: Path) -> Mapping[str, Counts]:
    run = RunDir(batch.folder(out))
    return sums.by_layer(run.table()) if run.place.exists("run.json") else {}
