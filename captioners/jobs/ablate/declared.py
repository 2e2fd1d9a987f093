"""What was declared before the first student began, kept with a digest; what is changed later is kept beside it.

A declaration made after results are seen claims nothing, so none is ever replaced: the file holds the first one, and
each change with its time.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.jobs.ablate.folder import write
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.report.ablation import Change, Declared

FILE = "declared.json"


def declare(recipe: AblateRecipe, folder: Path) -> Declared:
    """Keep what a recipe declares, or what it changes of what is kept; return all of it.

    Raises UserError for a damaged file.
    """
    file, now = folder / FILE, datetime.now(UTC).isoformat(timespec="seconds")
    said = _said(recipe)
    if not file.is_file():
        _keep(file, {"declared": said, "sha256": digest_of(said), "when": now, "changes": []})
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
    probe = recipe.probe
    return {
        **recipe.declare.model_dump(mode="json"),
        "seeds": probe.seeds,
        "distillation_weights": probe.distillation_weights,
        "ground_truth": probe.ground_truth,
        "steps": probe.steps,
        "evaluation": [one.model_dump(mode="json") for one in probe.evaluation],
    }


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
        said = dict(kept["declared"])
        if kept["sha256"] != digest_of(said):
            raise UserError(f"{file}: was altered after it was written (its digest is another); restore it")
        _as_value(kept)
        return dict(kept)
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: damaged, so nobody knows what was declared; restore it") from None


def _keep(file: Path, kept: Mapping[str, Any]) -> None:
    write(file, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
