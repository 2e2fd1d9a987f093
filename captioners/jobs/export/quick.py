"""From what stands on the command line to what is exported: a captioner, or the captions of a run."""

from dataclasses import dataclass
from pathlib import Path

from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.recipe import options_from, read_options
from captioners.core.run_dir import open_run
from captioners.jobs.export.captioner import FORMATS
from captioners.jobs.export.format import formats
from captioners.jobs.recipes.export import ExportRecipe
from captioners.kinds.catalogue import CONFIG, find


@dataclass(frozen=True)
class CaptionerAsked:
    """A captioner is to be exported."""

    captioner: str
    form: str
    out: str


def asked(what: list[str], to: str | None, out: str | None) -> tuple[CaptionerAsked | ExportRecipe, str]:
    """Return what the arguments mean, and one line that says what was recognised.

    Args:
        what: a captioner, a run or a recipe of `export`, then `key=value` for a run or recipe.

    Raises:
        NotFoundError: neither a captioner nor a run. RecipeError: all mistakes of the options at once. UserError: a
            form that is not one of what was given.
    """
    first, changes = what[0], what[1:]
    given = {name: value for name, value in (("to", to), ("output", out)) if value is not None}
    if first.endswith((".yaml", ".yml")):
        recipe = read_options(ExportRecipe, first, [*changes, *(f"{name}={value}" for name, value in given.items())])
        return recipe, f"recipe {first}; run {recipe.run}, to {recipe.to}"
    is_run, no_run = _looked(first, open_run)
    if is_run:
        _check_form(first, to)
        recipe = options_from(ExportRecipe, {"run": first, **given}, changes, f"export {first}")
        return recipe, f"{first}: a run; its captions to {recipe.to}"
    is_captioner, no_captioner = _looked(first, find)
    if Path(first).is_dir() and not Path(first, CONFIG).is_file():
        raise NotFoundError(f"{first}: a folder, but neither a run nor a captioner's directory (it has no {CONFIG})")
    if not is_captioner:
        raise NotFoundError(f"{first}: neither a captioner nor a run is there.{_hint(no_captioner, no_run)}")
    if changes:
        raise UserError(f"{changes[0]}: options are for a run's captions, and {first} is a captioner")
    if to in formats.names() and to not in FORMATS:
        raise UserError(f"{first}: a captioner, which exports to {', '.join(FORMATS)}; {to} is for a run's captions")
    if out is None:
        raise UserError("--out is missing; name a new or empty folder to write")
    return CaptionerAsked(first, to or "open_clip", out), f"{first}: a captioner"


def _check_form(run: str, to: str | None) -> None:
    known = formats.names()
    if to is None:
        raise UserError(f"{run}: a run; say what its captions become: --to {', '.join(known)}")
    if to in known:
        return
    if to.partition(":")[0] in FORMATS:
        raise UserError(f"{run}: a run, whose captions export to {', '.join(known)}; {to} is for a captioner")
    raise NotFoundError(
        f"no export form is named {to!r}.{near(to, known)} A run's captions export to: {', '.join(known)}"
    )


def _looked(given: str, find_it: object) -> tuple[bool, str]:
    try:
        find_it(given)  # type: ignore[operator]
    except NotFoundError as error:
        return False, str(error)
    return True, ""


def _hint(*said: str) -> str:
    """Return the near names that either search knows."""
    hints = [text[text.index(" Did you mean") :] for text in said if " Did you mean" in text]
    return (
        hints[0].partition("?")[0] + "?" if hints else " `captioners list captioners` shows all; runs lie below runs/"
    )
