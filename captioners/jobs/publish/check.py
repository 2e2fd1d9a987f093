"""`captioners ablate BUNDLE --check`: every number of a bundle made again from what it carries, and held against it.

No picture, no weights, no GPU: captions are measured again by the code that an ablation runs, what a model measured is
taken from its file, image by image, and statistics are made again from the students' results. All that `ablation.json`
says is compared but what nothing in a bundle tells: the gallery, what captions cost, and why an arm failed.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from math import isclose
from pathlib import Path
from typing import Any

from captioners.core.errors import NotFoundError, UserError
from captioners.core.recipe import read_options
from captioners.core.run_dir import RunDir
from captioners.data.told import ABOUT
from captioners.jobs.ablate import folder as own
from captioners.jobs.ablate.arms import Arms
from captioners.jobs.measure.judge import ABSENT
from captioners.jobs.measure.references import OWN
from captioners.jobs.probe.job import read_run
from captioners.jobs.publish.bundle import FORMAT, MANIFEST
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.report.ablation import Ablation, Arm, read_ablation

_NEAR = 1e-9
"""Relative difference of numbers that another machine's arithmetic explains."""
CARRIED = "the gallery, seconds of drawing, and why an arm failed"
"""What a bundle claims and nothing in it tells."""
_EXCEPT: Any = {"gallery": True, "made_by": True, "arms": {"__all__": {"seconds"}}}

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check found."""

    rows: int
    """Arms made again."""
    numbers: int
    """Values held against those that are claimed."""
    wrong: list[str]
    """What differs, a line each, by the name of its cell; or files that are not what the manifest says, and then
    nothing was made again."""


def check_bundle(given: str | Path, say: Say = lambda _: None) -> Checked:
    """Make everything again and compare.

    Raises:
        NotFoundError: there is no bundle. UserError: it cannot be read at all, or asks for what is not in it.
    """
    folder = Path(given).expanduser()
    digests = _manifest(folder)
    wrong = list(_altered_files(folder, digests))
    if wrong:
        return Checked(rows=0, numbers=0, wrong=wrong)
    for name in (own.TABLE, own.RECIPE):
        if name not in digests:
            raise NotFoundError(f"{folder}: the bundle has no {name}; `captioners report ABLATION --to bundle` again")
    claimed = read_ablation((folder / own.TABLE).read_bytes(), str(folder / own.TABLE))
    with tempfile.TemporaryDirectory(prefix="captioners-check-") as room:
        for name in digests:
            (Path(room) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, Path(room) / name, follow_symlinks=False)
        again = _made_again(Path(room), claimed, say)
    said, made = (one.model_dump(mode="json", exclude=_EXCEPT) for one in (claimed, again))
    pairs = list(_leaves(said, made))
    wrong = [
        f"{where}: the bundle claims {a}, and what it carries gives {b}" for where, a, b in pairs if not _same(a, b)
    ]
    return Checked(rows=sum(bool(arm.cells or arm.probe) for arm in again.arms), numbers=len(pairs), wrong=wrong)


def _manifest(folder: Path) -> dict[str, str]:
    """Return name -> sha256; raise where there is no manifest of a bundle."""
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
    return digests


def _altered_files(folder: Path, digests: Mapping[str, str]) -> Iterator[str]:
    """Say which files are not what the manifest says; nothing but plain files is opened."""
    there = set[str]()
    for path, folders, files in os.walk(folder):
        for one in (Path(path, name) for name in (*folders, *files)):
            name = one.relative_to(folder).as_posix()
            if one.is_symlink() or not (one.is_file() or one.is_dir()):
                yield f"{name}: is a link, or no plain file"
            elif one.is_file():
                there.add(name)
    there.discard(MANIFEST)
    yield from (f"{name}: is in the manifest, and not there" for name in sorted(set(digests) - there))
    yield from (f"{name}: is there, and not in the manifest" for name in sorted(there - set(digests)))
    for name in sorted(there & set(digests)):
        if sha256((folder / name).read_bytes()).hexdigest() != digests[name]:
            yield f"{name}: was altered (its sha256 is not the manifest's)"


def _made_again(copy: Path, claimed: Ablation, say: Say) -> Ablation:
    recipe = read_options(AblateRecipe, copy / own.RECIPE).model_copy(update={"gallery": 0})
    text = (copy / own.RECIPE).read_text(encoding="utf-8")
    probed = read_run(copy / own.PROBE)
    arms = Arms(recipe, claimed.name, copy, text, say)
    _needs_nothing_else(recipe, arms, copy)
    for batch in arms.batches:
        run = RunDir(batch.folder(copy))
        there = {layer.name for layer in run.layers()} if run.place.exists("run.json") else set()
        arms.drawn(batch, {name: "no captions of it are in the bundle" for name in batch.members if name not in there})
    arms.measure()
    arms.show(claimed.gallery)
    if recipe.probe is not None and probed is not None:
        arms.probed(probed)
    made = arms.ablation()
    return made.model_copy(update={"arms": tuple(map(_as_failed, made.arms, (*claimed.arms, *made.arms)))})


def _needs_nothing_else(recipe: AblateRecipe, arms: Arms, copy: Path) -> None:
    """Raise UserError where somebody's recipe would have a model, references or pictures opened from elsewhere."""
    if recipe.measure.references not in (None, OWN):
        raise UserError(f"{own.RECIPE}: references of {recipe.measure.references} are not in a bundle; it is none")
    needed = [ABOUT, *([ABSENT] if recipe.measure.clip is not None else [])]
    for run in (batch.folder(copy) for batch in arms.batches):
        for name in needed if (run / "run.json").is_file() else ():
            if not (run / name).is_file():
                raise UserError(f"{run.name}/{name}: is not in the bundle, and nothing is fetched from elsewhere")


def _as_failed(made: Arm, claimed: Arm) -> Arm:
    """Take over why an arm failed: what stopped its students is not in a bundle."""
    if claimed.status != "failed" or claimed.name != made.name:
        return made
    return made.model_copy(update={"status": claimed.status, "reason": claimed.reason})


_NAMES: Mapping[str, str] = {
    "arms": "arm {name}",
    "contrasts": "{arm} - {against}, {task}, λ {distillation}",
    "correlations": "{metric} against {outcome}",
    "saturation": "{name}, {metric}",
    "overlap": "overlap, {title}",
    "adds": "added to {arm}: {captioner}",
}
"""Field -> what one of it is called."""


def _leaves(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, claimed, made again) of all values, lists place by place; what one side lacks is None there."""
    if isinstance(one, list) or isinstance(other, list):
        sides = [side if isinstance(side, list) else [] for side in (one, other)]
        for place, (a, b) in enumerate(zip_longest(*sides), 1):
            known = _NAMES.get(where)
            named = known is not None and isinstance(a or b, Mapping)
            yield from _leaves(a, b, str(known).format(**(a or b)) if named else f"{where} {place}")
    elif isinstance(one, Mapping) or isinstance(other, Mapping):
        sides_of = [side if isinstance(side, Mapping) else {} for side in (one, other)]
        for name in dict.fromkeys([*sides_of[0], *sides_of[1]]):
            yield from _leaves(sides_of[0].get(name), sides_of[1].get(name), f"{where}, {name}" if where else name)
    else:
        yield where, one, other


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float | int) and isinstance(other, float | int) and not isinstance(one, bool):
        return isclose(one, other, rel_tol=_NEAR, abs_tol=_NEAR)
    return bool(one == other)
