"""`captioners ablate BUNDLE --check`: every number of a bundle made again from what it carries, and held against it.

No picture, no weights, no GPU: captions are measured again by the code that an ablation runs, what a model measured is
taken from its file, image by image, and statistics are made again from the students' results.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import isclose
from pathlib import Path
from typing import Any

from captioners.core.errors import NotFoundError, UserError
from captioners.core.recipe import read_options
from captioners.core.run_dir import RunDir
from captioners.jobs.ablate import folder as own
from captioners.jobs.ablate.arms import CONTROL, Arms
from captioners.jobs.ablate.found import probe_of
from captioners.jobs.probe.job import ProbeRun
from captioners.jobs.probe.results import Trained, read
from captioners.jobs.publish.bundle import FORMAT, MANIFEST
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.report.ablation import Ablation, Arm, Cell, read_ablation

_NEAR = 1e-9
"""Relative difference of numbers that another machine's arithmetic explains."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check found."""

    rows: int
    """Arms made again."""
    numbers: int
    """Numbers held against those that are claimed."""
    wrong: list[str]
    """What differs, a line each, by the name of its cell; and files that are not what the manifest says."""


def check_bundle(given: str | Path, say: Say = lambda _: None) -> Checked:
    """Make everything again and compare.

    Raises:
        NotFoundError: there is no bundle. UserError: it cannot be read at all.
    """
    folder = Path(given).expanduser()
    wrong = list(_altered_files(folder))
    claimed = read_ablation((folder / own.TABLE).read_bytes(), str(folder / own.TABLE))
    with tempfile.TemporaryDirectory(prefix="captioners-check-") as room:
        copy = Path(room) / "bundle"
        shutil.copytree(folder, copy)
        again = _made_again(copy, claimed, say)
    pairs = list(_leaves(_told(claimed), _told(again)))
    wrong += [
        f"{where}: the bundle claims {a}, and what it carries gives {b}" for where, a, b in pairs if not _same(a, b)
    ]
    return Checked(rows=sum(bool(arm.cells or arm.probe) for arm in again.arms), numbers=len(pairs), wrong=wrong)


def _altered_files(folder: Path) -> Iterator[str]:
    """Say which files are not what the manifest says; raise where there is no manifest of a bundle."""
    try:
        told = json.loads((folder / MANIFEST).read_bytes())
        digests = {str(name): str(digest) for name, digest in told["sha256"].items()}
        known = told["format"] == FORMAT and told["version"] == 1
    except FileNotFoundError:
        raise NotFoundError(
            f"{folder}: no bundle is there (no {MANIFEST}); `captioners report ABLATION --to bundle` makes one"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{folder / MANIFEST}: is no manifest of a bundle; restore it") from None
    if not known:
        raise UserError(
            f"{folder / MANIFEST}: of another format than {FORMAT} 1; check it with the version that wrote it"
        )
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    yield from (f"{name}: is in the manifest, and not there" for name in sorted(set(digests) - there))
    yield from (f"{name}: is there, and not in the manifest" for name in sorted(there - set(digests)))
    for name in sorted(there & set(digests)):
        if sha256((folder / name).read_bytes()).hexdigest() != digests[name]:
            yield f"{name}: was altered (its sha256 is not the manifest's)"


def _made_again(copy: Path, claimed: Ablation, say: Say) -> Ablation:
    recipe = read_options(AblateRecipe, copy / own.RECIPE).model_copy(update={"gallery": 0, "budget": None})
    arms = Arms(recipe, claimed.name, copy, claimed.recipe, say)
    for batch in arms.batches:
        run = RunDir(batch.folder(copy))
        there = {layer.name for layer in run.layers()} if run.place.exists("run.json") else set()
        arms.drawn(batch, {name: "no captions of it are in the bundle" for name in batch.members if name not in there})
    arms.measure()
    trained = list(_last(copy))
    if recipe.probe is not None and trained:
        results = [result for one in trained if not one.arm.startswith(CONTROL) for result in one.results]
        probed = {result.arm for result in results}
        run_of = ProbeRun(directory=str(copy), results=results, contrasts=[])
        arms.probed(run_of, [row for row in arms.rows if row.name in probed])
    made = arms.ablation()
    controls = {one.arm for one in trained if one.arm.startswith(CONTROL)}
    of_controls = [
        arm.model_copy(update={"probe": probe_of(r for one in trained if one.arm == arm.name for r in one.results)})
        for arm in claimed.arms
        if arm.name in controls
    ]
    return made.model_copy(update={"arms": (*made.arms, *of_controls)})


def _last(copy: Path) -> Iterator[Trained]:
    """Yield the students of an ablation; of what was trained anew after a change, the last."""
    found = {(one.arm, one.seed, one.distillation): one for one in read(copy / own.PROBE)}
    yield from found.values()


def _told(found: Ablation) -> Mapping[str, Any]:
    """Return the numbers that an ablation claims, by names that a reader finds on its page."""
    told: dict[str, Any] = {
        f"arm {arm.name}": {"captions of an image": arm.m, **_cells(arm.cells), **_results(arm)}
        for arm in found.arms
        if arm.status != "failed" or arm.cells
    }
    for one in found.contrasts:
        told[f"{one.arm} - {one.against}, {one.task}, λ {one.distillation}"] = one.model_dump()
    for pair in found.correlations:
        told[f"{pair.metric} against {pair.outcome}"] = pair.model_dump()
    for curve in found.saturation:
        told[f"{curve.name}, {curve.metric}"] = _cells({f"{m} captions": cell for m, cell in curve.points})
    for field in found.overlap:
        told[f"overlap, {field.title}"] = dict(zip(field.captioners, field.values, strict=True))
    for place, added in enumerate(found.adds, 1):
        told[f"added to {added.arm}, {place}: {added.captioner}"] = _cells(added.changes)
    return told


def _cells(cells: Mapping[str, Cell]) -> dict[str, Any]:
    return {name: cell.model_dump(exclude={"why"}) for name, cell in cells.items()}


def _results(arm: Arm) -> dict[str, Any]:
    return {
        f"λ {weight}, {task}, seed {seed}": value
        for weight, tasks in arm.probe.items()
        for task, seeds in tasks.items()
        for seed, value in seeds.items()
    }


def _leaves(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, claimed, made again) of all values; what one side lacks is None there."""
    if isinstance(one, tuple | list):
        one = {f"column {place}": value for place, value in enumerate(one, 1)}
    if isinstance(other, tuple | list):
        other = {f"column {place}": value for place, value in enumerate(other, 1)}
    if isinstance(one, Mapping) or isinstance(other, Mapping):
        sides = [side if isinstance(side, Mapping) else {} for side in (one, other)]
        for name in dict.fromkeys([*sides[0], *sides[1]]):
            yield from _leaves(sides[0].get(name), sides[1].get(name), f"{where}, {name}" if where else name)
        return
    yield where, one, other


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float | int) and isinstance(other, float | int) and not isinstance(one, bool):
        return isclose(one, other, rel_tol=_NEAR, abs_tol=_NEAR)
    return bool(one == other)
