"""Export a run's captions in any form, streamed unit by unit; the folder appears when it is whole.

    OUT/...                 what the form writes
    OUT/left_out.jsonl      every sample without captions here, with its reason; only if there is any
    OUT/manifest.json       what it is, two sums that balance, and each file with its digest

Until then it lies beside OUT under a hidden name (in a store, under OUT without a manifest: see `store_draft`). A
killed export goes on behind its last finished file when the same command runs again, and the result has the same bytes
as if it had not been killed.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from captioners.core import faults, sums
from captioners.core.errors import InterruptedRunError, UserError
from captioners.core.options import meaning_of
from captioners.core.remote import is_remote
from captioners.core.run_dir import RunDir, open_run
from captioners.core.stopping import stoppable
from captioners.data.run_captions import RunCaptions, SelectedUnit
from captioners.data.run_pictures import RunPictures
from captioners.jobs.export.by_image import by_image, image_schema
from captioners.jobs.export.captions import keys_of, lists_of
from captioners.jobs.export.draft import LEFT_OUT, MANIFEST, Draft, State
from captioners.jobs.export.format import Format, Task, formats
from captioners.jobs.export.manifest import manifest_of
from captioners.jobs.export.store_draft import StoreDraft
from captioners.jobs.recipes.export import ExportRecipe
from captioners.metrics.caption_score import caption_scores

_LOST = {"picture_gone": "picture_gone", "shard_unfinished": "unfinished"}
"""Reason of a sample that a form lost -> its name in the sums, where that is not `unfit`."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was exported."""

    folder: Path | str
    """A path, or the URL of a store."""
    manifest: dict[str, Any]


def export_run(recipe: ExportRecipe, say: Callable[[str], None] = lambda _: None) -> Exported:
    """Write a run's captions in a form; `say` hears of every finished file.

    Raises:
        NotFoundError: no such run or form. UserError: every mistake in the selection, a score that is not computed, a
            run that is not finished, an output that is not free, or nothing that is left to write.
        InterruptedRunError: stopped; the same command goes on.
    """
    run, form, draft = open_run(recipe.run), formats.get(recipe.to), _draft(recipe.output)
    keys = keys_of(recipe.tags, run.layers()) if recipe.captioned else {}
    lists = lists_of(keys, recipe.select, run.layers())
    found = RunCaptions(run, recipe.select, recipe.scores, computable=caption_scores.names(), lists=lists)
    _refuse_unfinished(recipe, found)
    schema = image_schema(found.schema, found.scores, recipe.images) if recipe.rows == "image" else found.schema
    with draft.alone(), stoppable():
        state = draft.resume(_identity(recipe, found))
        if state.files:
            say(f"going on behind {state.files[-1]['name']}, which an earlier start finished")
        resumed = [str(one["name"]) for one in state.files]
        task = Task(folder=draft.folder, recipe=recipe, run=run, units=found.units, schema=schema, resumed=resumed)
        writer = form(task)
        try:
            _write(found, draft, state, task, writer, say)
            if not state.captions["taken"]:
                draft.drop()
                said = f"{recipe.run}: not one caption is left to export ({_told(state.captions)})"
                raise UserError(said + _without_any(run, [name for names in keys.values() for name in names]))
            manifest = manifest_of(recipe, found, state, schema.names, keys)
            writer.describe(manifest)
            draft.write(MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        except KeyboardInterrupt:
            finished = f"{len(state.files):,} file{'' if len(state.files) == 1 else 's'}"
            raise InterruptedRunError(f"stopped behind {finished}; run the same command again to go on") from None
        finally:
            writer.drop()
        faults.point("before_publish")
        draft.publish()
    return Exported(folder=draft.target, manifest=manifest)


def _draft(output: str) -> Draft | StoreDraft:
    return StoreDraft(output) if is_remote(output) else Draft(output)


def _write(
    found: RunCaptions, draft: Draft | StoreDraft, state: State, task: Task, writer: Format, say: Callable[[str], None]
) -> None:
    pictures = RunPictures(task.run) if task.recipe.images else None
    with (draft.folder / LEFT_OUT).open("ab") as left:

        def keep(finished: Mapping[str, int]) -> None:
            if finished:
                left.flush()
                os.fsync(left.fileno())  # before the state that counts on it
                draft.keep(state, finished, left.tell())
                noun = "samples" if task.recipe.captioned else "rows"
                say("\n".join(f"{name}: {rows:,} {noun}" for name, rows in finished.items()))

        left.truncate(state.left_size)
        for unit in found.selected(state.units):
            table, lost = unit.rows, list[dict[str, Any]]()
            if task.recipe.rows == "image":
                table, lost = by_image(unit.rows, task.schema, found.scores, pictures)
            added = writer.add(unit, table)
            lost = [*lost, *added.lost]
            _count(state, unit, lost)
            state.notes.update({note: count for note, count in added.notes.items() if count})
            records = sorted([*unit.left, *lost], key=lambda one: (one["index"], one["key"]))
            left.writelines(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in records)
            state.units = unit.unit.number + 1
            keep(added.finished)
            faults.point("after_unit")
        keep(writer.close())
        empty = not left.tell()
    if empty:
        (draft.folder / LEFT_OUT).unlink()


def _count(state: State, unit: SelectedUnit, lost: Sequence[dict[str, Any]]) -> None:
    """Add a unit to the sums; what has lost its picture, or cannot be written, is not taken after all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    gone = pc.is_in(unit.rows["index"], pa.array([one["index"] for one in lost], pa.int32()))
    rows = unit.rows.filter(pc.invert(gone))
    state.samples.update(unit.samples)
    state.captions.update(unit.captions)
    counts = Counter(unit.rows["index"].to_pylist()) if lost else Counter[int]()
    for one in lost:
        why, less = _LOST.get(one["reason"], "unfit"), counts[one["index"]]
        state.samples.update({"taken": -1, why: 1})
        state.captions.update({"taken": -less, why: less})
    state.members.update(rows["member"].to_pylist())
    state.flags.update(pc.list_flatten(rows["flags"]).to_pylist())
    state.reasons.update(one["reason"] for one in [*unit.left, *lost])


def _identity(recipe: ExportRecipe, found: RunCaptions) -> str:
    """Return a digest of what is exported, of which units: an unfinished export of another one does not go on."""
    exclude = recipe.select.exclude
    excluded = sha256(Path(exclude).expanduser().read_bytes()).hexdigest() if exclude is not None else ""
    about = [found.units.digest, meaning_of(recipe), excluded]
    return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _refuse_unfinished(recipe: ExportRecipe, found: RunCaptions) -> None:
    done, shards, members = len(found.units.finished_shards), len(found.units.shards), len(found.units.layers)
    if done < shards and not recipe.partial:
        by = f"all {members} members" if members > 1 else "its member"
        raise UserError(
            f"{recipe.run}: {done:,} of {shards:,} shards are finished by {by}; finish the run (captioners status "
            f"{recipe.run}), or say partial=true to export what there is"
        )


def _without_any(run: RunDir, members: Sequence[str]) -> str:
    """Say which members of captioned shards kept nothing, and how to leave them out."""
    counts = sums.by_layer(run.table())
    none = [name for name in members if not counts[name].captioned]
    return f"; no caption of {', '.join(none)} was kept: tags={{{none[0]}: null}} leaves a member out" if none else ""


def _told(sums: Counter[str]) -> str:
    parts = " + ".join(f"{number:,} {name}" for name, number in sums.items() if name != "rows" and number)
    return f"{sums['rows']:,} rows = {parts or '0'}"
