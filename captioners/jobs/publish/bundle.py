"""An ablation as a bundle: all that its numbers follow from, but no picture and no weights, with a manifest.

manifest.json                 format, version, and the sha256 of every other file
ablation.json                 what was found: the numbers that are claimed
recipe.yaml declared.json     what was done, and what was declared before the first student
captions*/layers/             the captions, Parquet, with their ledger
captions*/told/               what came with the pictures: references, scenes
captions*/measures/           what a model measured of each image
probe/used.jsonl probe.json   what every student that counts came to; what chance gives

It has the layout of the ablation's own folder, so the same code measures it again (`check.py`).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from captioners.core.errors import UserError
from captioners.core.recipe import read_options
from captioners.core.run_dir import RunDir
from captioners.core.storage import Place
from captioners.data.caption_sets import OpenSet, sets_of_run
from captioners.data.run_pictures import RunPictures
from captioners.data.source import Sample
from captioners.data.told import about, told_rows
from captioners.jobs.ablate import folder as own
from captioners.jobs.ablate.declared import FILE as DECLARED
from captioners.jobs.ablate.layers import Batch, batches
from captioners.jobs.measure.judge import ABSENT, Judge
from captioners.jobs.measure.references import OWN
from captioners.jobs.probe.job import FOUND
from captioners.jobs.probe.results import USED
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.report.ablation import Ablation

MANIFEST = "manifest.json"
FORMAT = "captioners-ablation-bundle"
_OF_RUN = ("inputs", "layers", "ledger", "segments")
_BY_MODELS = ("measures/clip", "measures/retrieval")
"""What a bundle carries measured: what needs pictures and weights."""

File = tuple[str, bytes]
"""Name and content."""


def bundle(folder: Path, found: Ablation) -> Iterator[File]:
    """Return the files of an ablation's bundle, the manifest last; they are read one by one.

    Raises:
        UserError: its references are another source's, or what its results rest on is not there. NotFoundError, while
            they are read: what came with its pictures is gone.
    """
    recipe = read_options(AblateRecipe, folder / own.RECIPE)
    if recipe.measure.references not in (None, OWN):
        raise UserError(
            f"{folder}: a bundle carries the references that came with the pictures, and these are of "
            f"{recipe.measure.references}; measure with `references: own` for one"
        )
    used = folder / own.PROBE / USED
    if any(arm.probe for arm in found.arms) and not used.is_file():
        raise UserError(
            f"{used}: is not there (an earlier version made this ablation), and a bundle's results rest on it; run "
            f"`captioners ablate {folder / own.RECIPE}` again, which trains no student anew"
        )
    return _with_manifest(recipe, folder)


def _with_manifest(recipe: AblateRecipe, folder: Path) -> Iterator[File]:
    digests: dict[str, str] = {}
    for name, data in _all(recipe, folder):
        digests[name] = sha256(data).hexdigest()
        yield name, data
    yield MANIFEST, manifest(digests)


def _all(recipe: AblateRecipe, folder: Path) -> Iterator[File]:
    for name in (own.TABLE, own.RECIPE, DECLARED, f"{own.PROBE}/{USED}", f"{own.PROBE}/{FOUND}"):
        if (folder / name).is_file():
            yield name, (folder / name).read_bytes()
    for batch in batches(recipe, recipe.rows().values()):
        for name, data in _captions(batch, folder, recipe.measure.clip):
            yield f"{batch.folder(Path()).name}/{name}", data


def remove_old(place: Place) -> None:
    """Remove the files of a bundle that was written there before, so that none of them is taken for one of the new."""
    if not place.exists(MANIFEST):
        return
    try:
        told = json.loads(place.read(MANIFEST))
        names = [str(name) for name in told["sha256"]] if told["format"] == FORMAT else []
    except (ValueError, KeyError, TypeError):
        names = []
    for name in names:
        place.remove(name)


def manifest(digests: Mapping[str, str]) -> bytes:
    """Return the manifest of files, by their names and sha256."""
    told = {"format": FORMAT, "version": 1, "sha256": dict(sorted(digests.items()))}
    return (json.dumps(told, indent=1) + "\n").encode()


def _captions(batch: Batch, folder: Path, clip: str | None) -> Iterator[File]:
    """Yield what a bundle needs of a run of captions, by its name there."""
    run = RunDir(batch.folder(folder))
    if not run.place.exists("run.json"):
        return  # no captioner of it could be had
    yield from ((name, run.place.read(name)) for name in _names(run.place))
    yield about()
    pictures = RunPictures(run)
    for shard in (str(one["path"]) for one in run.inputs()):
        yield told_rows(shard, (one for one in pictures.samples(shard) if isinstance(one, Sample)))
    if clip is not None:
        judge = Judge(clip, [OpenSet(one) for one in sets_of_run(run.url)])
        yield ABSENT, (json.dumps({"name": judge.name, "digest": judge.digest}) + "\n").encode()


def _names(place: Place) -> Iterable[str]:
    yield "run.json"
    for part in (*_OF_RUN, *_BY_MODELS):
        yield from place.names(part)
