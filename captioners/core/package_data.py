"""Where the packaged recipes, data cards and photos are: inside an installed wheel, or at the top of a checkout."""

from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent

SAMPLES = _PACKAGE / "samples"
"""The packaged photos."""


def recipes_dir() -> Path:
    """Return the folder of packaged recipes; raise `FileNotFoundError` if this installation has none."""
    return _find("recipes")


def data_cards_dir() -> Path:
    """Return the folder of data cards; raise `FileNotFoundError` if this installation has none."""
    return _find("data_cards")


def recipe_names() -> list[str]:
    """Return the packaged recipes, sorted; a name is the path below `recipes/` without `.yaml`: `caption/photos`."""
    root = recipes_dir()
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))


def names_recipe(given: str) -> bool:
    """Whether a word on the command line means a recipe, a YAML file or a packaged one, and not a path of data."""
    return given.endswith((".yaml", ".yml")) or (given in recipe_names() and not Path(given).exists())


def paths_and_changes(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell paths from `key=value` changes; what exists is a path, whatever its name.

    >>> paths_and_changes(["photos", "seed=1"])
    (['photos'], ['seed=1'])
    """
    paths = [word for word in given if "=" not in word or Path(word).exists()]
    return paths, [word for word in given if word not in paths]


def data_card_names() -> list[str]:
    """Return the names of the data cards, sorted; `README.md` tells about the folder and is not a card."""
    return sorted(path.stem for path in data_cards_dir().glob("*.md") if path.stem != "README")


def _find(folder: str) -> Path:
    # The wheel carries the top-level folder inside the package (pyproject, force-include); an editable install
    # reads the checkout.
    candidates = (_PACKAGE / f"_{folder}", _PACKAGE.parent / folder)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"this installation has no {folder}: looked in {' and '.join(map(str, candidates))}; reinstall captioners"
    )
