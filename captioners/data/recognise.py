"""From paths on a command line to the options of the source that they mean, and one sentence of what was recognised."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from captioners.core.errors import NotFoundError, UserError
from captioners.data.folder_source import FolderOptions
from captioners.data.inputs import expand_braces, find_files
from captioners.data.jsonl_source import JsonlOptions, first_object
from captioners.data.source import SourceOptions
from captioners.data.tar import COMPRESSED_SUFFIXES
from captioners.data.webdataset_source import WebdatasetOptions
from captioners.images.decode import SUFFIXES

TARS = (".tar", *COMPRESSED_SUFFIXES)
IMAGE_COLUMNS = ("image", "image_path", "path", "file_name", "filename", "filepath", "img", "jpg")
CAPTION_COLUMNS = ("caption", "captions", "text", "txt", "alt_text")
KEY_COLUMNS = ("key", "uid", "id", "image_id")

_KINDS = {"tars": TARS, "JSONL files": (".jsonl",), "pictures": tuple(SUFFIXES)}


def recognise(paths: Sequence[str]) -> tuple[SourceOptions, str]:
    """Return the options that `paths` (files, folders, quoted patterns) mean, and a sentence that says what they are.

    Raises:
        NotFoundError: a path does not exist, or holds nothing that a source reads.
        UserError: two readings are possible (pictures beside tars); both are said.
    """
    counts = dict.fromkeys(_KINDS, 0)
    for path in paths:
        for kind, number in _counts(path).items():
            counts[kind] += number
    found = {kind: count for kind, count in counts.items() if count}
    inputs = list(paths)
    what = ", ".join(paths)
    if not found:
        raise NotFoundError(f"{what or 'nothing was given'}: neither pictures, tars nor JSONL files; name some")
    # The lines of a JSONL file name pictures beside it: a folder of both is pictures, the file itself is a JSONL file.
    named = [path for path in paths if path.lower().endswith(".jsonl")]
    if set(found) == {"pictures", "JSONL files"} and not named:
        said = _number(found["pictures"], "picture")
        return FolderOptions(inputs=inputs), f"{what}: {said}; to read a JSONL file beside them, name the file"
    if len(found) > 1:
        both = " and ".join(f"{count:,} {kind}" for kind, count in found.items())
        raise UserError(f"{what}: {both}; name only one of them, or say source.kind in a recipe")
    if "tars" in found:
        return WebdatasetOptions(inputs=inputs), f"{what}: {_number(found['tars'], 'tar shard')}, read as webdataset"
    if "pictures" in found:
        return FolderOptions(inputs=inputs), f"{what}: {_number(found['pictures'], 'picture')}"
    return _jsonl(inputs, what, found["JSONL files"])


def _jsonl(inputs: list[str], what: str, count: int) -> tuple[SourceOptions, str]:
    first = next(iter(find_files(inputs, (".jsonl",), "JSONL files").values()))
    columns = list(first_object(first))
    image = _first(IMAGE_COLUMNS, columns)
    if image is None:
        there = ", ".join(columns) or "none, for its first lines are no JSON objects"
        raise UserError(
            f"{first}: which column holds the image? there are: {there}; say source.image_column in a recipe"
        )
    caption, key = _first(CAPTION_COLUMNS, columns), _first(KEY_COLUMNS, columns)
    options = JsonlOptions(inputs=inputs, image_column=image, caption_column=caption, key_column=key)
    named = {"images": image, "captions": caption, "keys": key}
    said = ", ".join(f"{role} in {column!r}" for role, column in named.items() if column)
    return options, f"{what}: {_number(count, 'JSONL file')}, {said}"


def _first(wanted: Iterable[str], columns: list[str]) -> str | None:
    return next((name for name in wanted if name in columns), None)


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _counts(given: str) -> dict[str, int]:
    """Return how many files of each kind a path stands for."""
    path = Path(given).expanduser()
    if path.is_dir():
        names = [name for folder in _folders(path) for name in folder]
    else:
        # A pattern or a file: its ending says what it is meant to be, and finding nothing is find_files' to tell.
        ending = expand_braces(given)[0].lower()
        suffixes = next((kind for kind in _KINDS.values() if ending.endswith(kind)), None)
        if suffixes is None and path.exists():
            known = ", ".join((".tar", ".jsonl", ".jpg", ".png"))
            raise UserError(f"{given}: not a file that a source reads ({known}, ...); give one of these, or a folder")
        names = [file.name for file in find_files([given], (), "files").values()]
    return {kind: sum(name.lower().endswith(ends) for name in names) for kind, ends in _KINDS.items()}


def _folders(path: Path) -> Iterable[list[str]]:
    for _, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        yield [name for name in files if not name.startswith(".")]
