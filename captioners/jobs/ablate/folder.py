"""The folder of an ablation: where its parts lie, and whose it is."""

from pathlib import Path

from captioners.core.errors import UserError
from captioners.core.processes import LOCK
from captioners.data import run_start
from captioners.jobs.recipes.ablate import AblateRecipe

RECIPE = "recipe.yaml"
TABLE = "ablation.json"
"""What was found."""
PAGE = "ablation.html"
PROBE = "probe"
TEACHER = "teacher"
STUDENTS = "students of "
"""What the book calls an arm's students, before its name."""


def output_of(recipe: AblateRecipe, name: str) -> Path:
    """Return the folder: the recipe's, or one named by what is captioned."""
    if recipe.output is not None:
        return Path(recipe.output).expanduser()
    return Path("runs") / f"{name}-{run_start.identity(recipe.source, recipe.generate.seed)}"


def make(out: Path) -> None:
    """Make the folder, or find it; raise UserError where something that is no ablation is there."""
    if out.is_dir():
        there = {path.name for path in out.iterdir()} - {LOCK}
        file = out / RECIPE
        if there and not (file.is_file() and "job: ablate" in file.read_text(encoding="utf-8").splitlines()):
            raise UserError(f"{out}: the folder is not empty and holds no ablation; name another output")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output {out}: cannot be made ({error.strerror}); name another output") from None


def write(file: Path, data: str | bytes) -> None:
    """Write a file whole or not at all."""
    draft = file.with_name(f"{file.name}.part")
    draft.write_bytes(data.encode() if isinstance(data, str) else data)
    draft.replace(file)
