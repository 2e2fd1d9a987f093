"""The folder of a training run: whose it is, who may write in it, and what it says that the run does."""

import hashlib
import json
from contextlib import ExitStack
from pathlib import Path

from captioners.core.errors import UserError
from captioners.core.options import meaning_of
from captioners.core.processes import LOCK, alone
from captioners.core.recipe import read_options, resolved
from captioners.jobs.train.start import Recipe


def folder_of(recipe: Recipe) -> Path:
    """Return the run's folder: the recipe's, or one named by what it does."""
    name = f"{recipe.job}-{hashlib.sha256(_asked(recipe).encode()).hexdigest()[:6]}"
    return Path(recipe.output).expanduser() if recipe.output else Path("runs") / name


def finished(recipe: Recipe) -> Path | None:
    """Return the folder of a run that this very recipe has finished, if there is one; its data is not looked at."""
    directory = folder_of(recipe)
    if not (directory / "captioner").is_dir():
        return None
    try:
        kept = read_options(type(recipe), directory / "recipe.yaml")
    except UserError:  # another job's, or an older version's: training says what is there
        return None
    return directory if _asked(kept) == _asked(recipe) else None


def _asked(recipe: Recipe) -> str:
    return json.dumps([meaning_of(recipe), recipe.source.model_dump(mode="json")], sort_keys=True)


def begun(recipe: Recipe, directory: Path, stack: ExitStack) -> Path:
    """Make the run's folder and keep other runs out of it as long as `stack` lasts; a new one gets its recipe.

    The recipe of a run that goes on stays until `write_recipe`: what is asked now may yet be refused.
    """
    _refuse_unless_ours(recipe, directory)
    stack.enter_context(alone(directory, f"{directory}: another process is training here"))
    if not (directory / "recipe.yaml").is_file():
        write_recipe(recipe, directory)
    return directory


def write_recipe(recipe: Recipe, directory: Path) -> None:
    """Write `recipe.yaml`, whole or not at all."""
    draft = directory / ".recipe.yaml"
    draft.write_text(resolved(recipe), encoding="utf-8")
    draft.replace(directory / "recipe.yaml")


def _refuse_unless_ours(recipe: Recipe, directory: Path) -> None:
    """Make the folder, or find it; raise UserError if its run is finished, or something else is there."""
    if (directory / "captioner").exists():
        raise UserError(
            f"{directory}: this run is finished, its captioner is {directory / 'captioner'}; name another output"
        )
    there = {path.name for path in directory.iterdir()} - {LOCK, ".recipe.yaml"} if directory.is_dir() else set()
    if there and not _is_of(recipe.job, directory / "recipe.yaml"):
        raise UserError(f"{directory}: the folder is not empty and holds no run of {recipe.job}; name another output")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"output {directory}: a file stands where a folder is needed; name another output") from None
    except PermissionError:
        raise UserError(f"output {directory}: may not be written; name another output") from None


def _is_of(job: str, file: Path) -> bool:
    """Whether a resolved recipe is one of the job: it says so on a line of its own."""
    return file.is_file() and f"job: {job}" in file.read_text(encoding="utf-8", errors="replace").splitlines()
