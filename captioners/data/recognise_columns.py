"""Which of a table's columns hold images, captions and keys, by the names that are usual for them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from captioners.core.errors import UserError

IMAGE_COLUMNS = ("image", "image_path", "path", "file_name", "filename", "filepath", "img", "jpg")
CAPTION_COLUMNS = ("caption", "captions", "text", "txt", "alt_text", "title")
KEY_COLUMNS = ("key", "uid", "id", "image_id")

_SETS = {
    "vertices": "graphs of GBC; write a recipe with source: {kind: gbc, inputs: [...], images: FOLDER, variant: short}",
    "recaption": (
        "ReCap-COCO has two texts; write a recipe with source: {kind: recap_coco, inputs: [...]} for `recaption`, "
        "or {kind: table, inputs: [...], caption_column: caption} for MSCOCO's own"
    ),
}
"""A column by which a published set is known -> what to do."""


def name_columns(
    where: str, there: Sequence[str], given: Mapping[str, Any], captioned: bool
) -> tuple[dict[str, str], str]:
    """Return the options that name columns, and a phrase that says them.

    What is `given` is not looked for. With `captioned`, two columns that may be meant are an error; without, the first
    of the usual names is taken, for captions that are there are not what is asked for.

    Raises UserError where a column is not found, or more than one is.
    """
    if captioned and "caption_column" not in given:
        for column, what in _SETS.items():
            if column in there:
                raise UserError(f"{where}: {what}")
    # Where each caption has a row of its own, several rows have the id of their image: no key then.
    keys = [name for name in KEY_COLUMNS if name != "image_id" or not captioned]
    found = {
        "image_column": given.get("image_column") or _one(where, "image", IMAGE_COLUMNS, there, captioned),
        "caption_column": given.get("caption_column") or _one(where, "caption", CAPTION_COLUMNS, there, captioned),
        "key_column": given.get("key_column") or next(iter(_among(keys, there)), None),
    }
    for role in ("image", "caption") if captioned else ("image",):
        if found[f"{role}_column"] is None:
            names = ", ".join(there) or "none, for its first lines are no JSON objects"
            raise UserError(
                f"{where}: which column holds the {role}? there are: {names}; say source.{role}_column=NAME"
            )
    said = {"images": found["image_column"], "captions": found["caption_column"], "keys": found["key_column"]}
    phrase = ", ".join(f"{role} in {column!r}" for role, column in said.items() if column)
    return {option: column for option, column in found.items() if column}, phrase


def has_images(there: Iterable[str]) -> bool:
    """Whether a column has one of the usual names for images."""
    return bool(_among(IMAGE_COLUMNS, there))


def _one(where: str, role: str, wanted: Sequence[str], there: Sequence[str], strict: bool) -> str | None:
    found = _among(wanted, there)
    if strict and len(found) > 1:
        several = " or ".join(map(repr, found))
        raise UserError(f"{where}: is the {role} in {several}? say source.{role}_column=NAME")
    return next(iter(found), None)


def _among(wanted: Iterable[str], there: Iterable[str]) -> list[str]:
    there = set(there)
    return [name for name in wanted if name in there]
