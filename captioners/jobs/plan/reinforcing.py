"""Say what a recipe of `reinforce` will write before it runs: crops, captions, bytes, packed as they will be.

No teacher is loaded: an embedding's width is what its architecture's configuration says. Hours are not told: they are
the teachers' own, which a pilot (max_shards=1) or `captioners bench reinforce` measures.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from captioners.core.errors import UserError
from captioners.core.recipe import Recipe
from captioners.jobs.plan.data import said
from captioners.jobs.plan.rows import Plan, Row, Section
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce.estimate import captions_of
from captioners.reinforcement.contract import SYN_KEY
from captioners.reinforcement.sizes import added_bytes
from captioners.reinforcement.teacher_options import TeacherOptions
from captioners.reinforcement.tiny_teachers import TINY

WIDEST = 768
"""Width of a ViT-L/14's embedding, which all published sets' teachers have."""


def reinforcing_plan(read: Recipe, assume: Sequence[str] = ()) -> Plan:
    """Return what a recipe of `reinforce` comes to; raise UserError for an assumption that means nothing."""
    recipe = read.options
    assert isinstance(recipe, ReinforceRecipe)
    rows = {row.what: row for row in (*_widths(recipe), *_data(recipe))}
    for word in assume:
        row = said(word, rows)
        rows[row.what] = row
    widths = [int(rows[f"width_{number}"].low) for number in range(len(recipe.teachers))]
    syn = int(rows["captions"].low)
    added = added_bytes(
        widths, recipe.n_aug, {SYN_KEY: syn}, recipe.dtype, recipe.layout, recipe.image_augmentation.drawn_from()
    )
    images, each = rows["images"], rows["bytes_per_image"]
    low, high = images.low, images.high
    work = (
        Row("pictures", low, high, "", images.how, images.known),
        Row("crops", low * recipe.n_aug, high * recipe.n_aug, "", f"{recipe.n_aug} a picture, by each teacher"),
        Row("captions", low * (1 + syn), high * (1 + syn), "", "with the one that came with the picture"),
    )
    disk = (
        Row("captioned shards", low * each.low, high * each.high, "B", "which stay as they are"),
        Row("of a sample", added, added, "B", f"{recipe.dtype}, {recipe.layout}: noise, packed as embeddings are"),
        Row("reinforced shards", low * (each.low + added), high * (each.high + added), "B"),
    )
    rest = tuple(row for row in rows.values() if row.known == "assumed")
    assumed = Section("assumed (--assume NAME=VALUE or NAME=LOW..HIGH)", rest)
    sections = Section("the work", work), Section("disk", disk), *([assumed] if rest else [])
    basis = "sizes alone; hours are the teachers' own, which a pilot measures"
    return Plan(read.name, read.job, "disk", basis, sections)


def _widths(recipe: ReinforceRecipe) -> Iterator[Row]:
    for number, teacher in enumerate(recipe.teachers):
        found = width_of(teacher)
        width, known = (found, "counted") if found else (WIDEST, "assumed")
        row = Row(f"width_{number}", width, width, "", f"of an embedding of {teacher.called}", "counted")
        yield row if known == "counted" else replace(row, known="assumed", how=f"{row.how}: as a ViT-L/14's")


def width_of(teacher: TeacherOptions) -> int | None:
    """Return the width of a teacher's embedding, where a configuration here says it."""
    if teacher.random and teacher.name in TINY:
        return int(TINY[teacher.name]["embed_dim"])
    kind, _, where = teacher.name.partition(":")
    if kind == "hf-hub":
        return None
    try:
        if kind == "local-dir":
            config = json.loads(Path(where, "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
        else:
            import open_clip

            config = open_clip.get_model_config(teacher.name)
        return int(config["embed_dim"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"teacher {teacher.called}: no configuration says how wide its embeddings are") from None


def _data(recipe: ReinforceRecipe) -> Iterator[Row]:
    """Return what the shards hold: counted where any are named, else for a user to say."""
    syn, count, size = {SYN_KEY: 5}, 0, 0
    if recipe.source.inputs:
        source = recipe.source.open()
        shards = source.shards()
        counts = [source.count(shard) for shard in shards[:1]] if shards else []
        if counts and counts[0]:
            share = counts[0] / shards[0].size
            known = [shard.count for shard in shards]
            size = sum(shard.size for shard in shards)
            count = sum(one or 0 for one in known) if None not in known else round(size * share)
            syn = captions_of(source, shards[0]) or syn
    number = sum(syn.values())
    if count:
        yield Row("images", count, count, "", "by the shards' sizes, and the samples of the first", "counted")
        yield Row("bytes_per_image", size / count, size / count, "bytes", "as captioned", "counted")
        yield Row("captions", number, number, "", "of a picture, as the first shard has them", "counted")
        return
    yield Row("images", 1, 1, "images", "how many is not known: a single one", "assumed")
    yield Row("bytes_per_image", 50e3, 50e3, "bytes", "as captioned: a guess", "assumed")
    yield Row("captions", number, number, "", "synthetic, of a picture: as the published sets have", "assumed")
