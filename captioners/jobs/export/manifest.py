"""What an export is, for machines: counts that balance, who made the captions and how, licences, files and digests.

No time, host or path stands in it: the same captions, selected the same way, give the same bytes.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from captioners.core.errors import NotFoundError
from captioners.core.layers import Layer
from captioners.data.licences import licences_of
from captioners.data.run_captions import RunCaptions
from captioners.data.source import sources
from captioners.jobs.export.draft import State
from captioners.jobs.recipes.export import ExportRecipe
from captioners.kinds.catalogue import find


def manifest_of(
    recipe: ExportRecipe, found: RunCaptions, state: State, columns: Sequence[str], keys: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the manifest of an export that has read every unit; `columns` are those of its rows.

    `keys`: of captions in whole samples -> the members that wrote them. `samples`: read = taken + excluded + too_few +
    quarantined (+ picture_gone, unfit for the form, unfinished shards). `captions`: rows = taken + refused (by rules of
    the run) + excluded + unmet (the condition) + too_few (of samples that cannot have n) + spare (beyond n), and so on.
    """
    units, select = found.units, recipe.select.model_dump(mode="json")
    select["exclude"] = state.samples["excluded"] if recipe.select.exclude is not None else None
    data = _data(found)
    members = [_member(layer, state.members[layer.name]) for layer in units.layers]
    return {
        "format": recipe.to,
        **_shape(recipe, columns, keys),
        "samples": _sums(state.samples, "read"),
        "captions": _sums(state.captions, "rows"),
        "left_out": dict(sorted(state.reasons.items())),
        "flags": dict(sorted(state.flags.items())),
        **({"notes": dict(sorted(state.notes.items()))} if state.notes else {}),
        "members": members,
        "select": select,
        "scores": {name: _score(found, name) for name in found.scores},
        "data": data,
        "commercial_use": _commercial_use(found, str(data["commercial_use"])),
        "shards": {"finished": len(units.finished_shards), "all": len(units.shards)},
        "run": {"units": units.digest, "seed": found.run.settled().get("seed")},
        "captioners": version("captioners"),
        "files": state.files,
    }


def _shape(recipe: ExportRecipe, columns: Sequence[str], keys: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    if recipe.captioned:
        return {"rows": "sample", "keys": {key: list(members) for key, members in keys.items()}}
    return {"rows": recipe.rows, "images": recipe.images, "columns": list(columns)}


def _sums(counted: Any, whole: str) -> dict[str, int]:
    others = {name: number for name, number in sorted(counted.items()) if name not in (whole, "taken") and number}
    return {whole: counted[whole], "taken": counted["taken"], **others}


def _member(layer: Layer, captions: int) -> dict[str, Any]:
    facts, meaning = layer.facts, layer.meaning
    return {
        "name": layer.name,
        "captions": captions,
        "captioner": facts.get("captioner_name") or facts.get("captioner"),
        "kind": facts.get("kind"),
        "weights": meaning.get("weights"),
        "draws": layer.draws,
        "decoding": meaning.get("decoding"),
        "prompt": meaning.get("prompt") or None,
        "licences": dict(facts.get("licences") or {}),
        "fingerprint": layer.fingerprint,
    }


def _score(found: RunCaptions, name: str) -> dict[str, Any]:
    about = found.score_about(name)
    return {"metric": about.metric, "version": about.version, "scorer": about.scorer, "digest": about.scorer_digest}


def _data(found: RunCaptions) -> dict[str, Any]:
    """Return what is known of the pictures' data: its kind, its card, its licences."""
    given = found.run.settled().get("source") or {}
    said: dict[str, Any] = {"source": given.get("kind"), "images_licence": "unspecified", "commercial_use": "unknown"}
    if given.get("kind") in sources.names():
        licences = licences_of(sources.get(given["kind"]).model_validate(given, strict=False))
        said |= {"cards": list(licences.names), "images_licence": "; ".join(licences.images)}
        said["commercial_use"] = licences.commercial_use
    return said


def _commercial_use(found: RunCaptions, data: str) -> str:
    """Return no if a captioner's or the data's licence forbids it, else unknown: not yes, which nobody has stated."""
    return "no" if data == "no" or any(_forbids(layer) for layer in found.units.layers) else "unknown"


def _forbids(layer: Layer) -> bool:
    """Whether the licence of a layer's captioner forbids commercial use; a run of an older version does not say it."""
    if "commercial_use" in layer.facts:
        return bool(layer.facts["commercial_use"] == "no")
    with suppress(NotFoundError):  # a captioner that is not here any more
        return find(str(layer.facts.get("captioner"))).noncommercial
    return False
