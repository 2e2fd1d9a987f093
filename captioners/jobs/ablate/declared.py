"""What was declared before the first student began, kept with a digest; what is changed later is kept beside it.

A declaration made after results are seen claims nothing, so none is ever replaced: the file holds the first one, and
each change with its time. It covers what the claims are about, too: what the contrasted arms are, and how students are
trained and judged. Its digest is a chain: that of the first declaration, of it and the first change, and so on.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.core.options import meaning_of
from captioners.jobs.ablate.folder import PROBE, write
from captioners.jobs.probe.results import FILE as RESULTS
from captioners.jobs.recipes.ablate import AblateRecipe, Row
from captioners.report.ablation import Change, Declared

FILE = "declared.json"


def declare(recipe: AblateRecipe, folder: Path) -> Declared:
    """Keep what a recipe declares, or what it changes of what is kept; return all of it.

    Raises UserError for a damaged file, or for none where there are results already.
    """
    file, now = folder / FILE, datetime.now(UTC).isoformat(timespec="seconds")
    said = _said(recipe)
    if not file.is_file():
        there = (folder / PROBE / RESULTS).is_file() or (recipe.probe is not None and recipe.probe.results is not None)
        if there:
            raise UserError(
                f"{file}: is not there, and results are; what was declared before them nobody knows: restore it, or "
                "name another output, and start it without results"
            )
        _keep(file, {"declared": said, "when": now, "changes": []})
    kept = _read(file)
    new = [
        {"what": what, "before": _words(before), "after": _words(after), "when": now}
        for what, before, after in _changes(_last(kept), said)
    ]
    if new:
        kept["changes"] += new
        kept["last"] = said
        _keep(file, kept)
    return _as_value(kept)


def declared(folder: Path) -> Declared | None:
    """Return what is kept, or None before the first student."""
    return _as_value(_read(folder / FILE)) if (folder / FILE).is_file() else None


def digest_of(said: Mapping[str, Any]) -> str:
    """Return the sha256 of a declaration, as `sha256sum` has it of its canonical JSON."""
    return sha256(json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def _said(recipe: AblateRecipe) -> dict[str, Any]:
    assert recipe.probe is not None
    rows = recipe.rows()
    arms = dict.fromkeys(name for pair in recipe.declare.contrasts for name in pair)
    return {
        **recipe.declare.model_dump(mode="json"),
        **meaning_of(recipe.probe),
        **{f"arms.{name}": _arm(recipe, rows[name]) for name in arms},
    }


def _arm(recipe: AblateRecipe, row: Row) -> dict[str, Any]:
    """Return what an arm is: who draws, how, and how many."""
    captioners = recipe.model_dump(mode="json", include={"captioners"})["captioners"]
    members = [{"captioner": captioners[one.captioner], "layer": one.layer, "draws": one.draws} for one in row.members]
    return {"members": members, "rules": row.rules.model_dump(mode="json")}


def _chained(kept: Mapping[str, Any]) -> str:
    """Return the digest of all that a file keeps."""
    found = digest_of({"declared": kept["declared"], "when": kept["when"]})
    for change in kept["changes"]:
        found = digest_of({"earlier": found, "change": change})
    return digest_of({"earlier": found, "last": kept["last"]}) if "last" in kept else found


def _last(kept: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(kept.get("last") or kept["declared"])


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _as_value(kept: Mapping[str, Any]) -> Declared:
    said = kept["declared"]
    return Declared(
        sha256=kept["sha256"],
        task=said["primary"],
        distillation=", ".join(f"{weight:g}" for weight in said["distillation_weights"]),
        contrasts=tuple((arm, against) for arm, against in said["contrasts"]),
        margin=said["margin"],
        seeds=len(said["seeds"]),
        when=kept["when"],
        changes=tuple(Change(**change) for change in kept["changes"]),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["sha256"] != _chained(kept):
            raise UserError(f"{file}: was altered after it was written (its digest is another); restore it")
        _as_value(kept)
        return dict(kept)
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: damaged, so nobody knows what was declared; restore it") from None


def _keep(file: Path, kept: Mapping[str, Any]) -> None:
    write(file, json.dumps({**kept, "sha256": _chained(kept)}, indent=1, ensure_ascii=False) + "\n")
