"""From paths on a command line to the options of the source that they mean, and one sentence of what was recognised.

Every reading that fits is found first. One is taken; none, or several, are an error: several are named with what to
write in a recipe for each, and none is ever guessed.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from captioners.core.errors import NotFoundError, UserError
from captioners.data.coco_source import CocoOptions
from captioners.data.folder_source import FolderOptions
from captioners.data.found_files import Found, find, number
from captioners.data.huggingface_source import HuggingfaceOptions, load
from captioners.data.inputs import File
from captioners.data.jsonl_source import JsonlOptions, first_object
from captioners.data.recognise_columns import has_images, name_columns
from captioners.data.recognise_json import coco_files, pictures_of
from captioners.data.source import SourceOptions
from captioners.data.table_source import TableOptions, table_columns
from captioners.data.webdataset_source import WebdatasetOptions, first_members


@dataclass(frozen=True)
class _Reading:
    model: type[SourceOptions]
    said: str
    rest: Callable[[], tuple[dict[str, Any], str]] = lambda: ({}, "")
    """Further options, and a phrase about them; looked for only in the reading that is taken."""
    fixed: tuple[tuple[str, Any], ...] = ()
    """Options by which it differs from another reading of the same kind."""


def recognise(
    paths: Sequence[str], *, captioned: bool = False, given: Mapping[str, Any] | None = None
) -> tuple[SourceOptions, str]:
    """Return the options that `paths` (files, folders, quoted patterns) mean, and a sentence that says what they are.

    With `captioned`, only what gives captions counts as a reading. `given` are options of the source that the caller
    knows already (`kind`, `caption_column`, `separator`, ...): what they say is not looked for.

    Raises:
        NotFoundError: a path does not exist, or holds nothing that a source reads.
        UserError: two readings are possible (pictures beside tars), and both are said; or captions are asked for, and
            there are none.
    """
    given = dict(given or {})
    found = find(paths)
    kind = given.pop("kind", None)
    readings = [r for r in _readings(found, given, captioned) if kind in (None, r.model.model_fields["kind"].default)]
    if len(readings) > 1:
        # An option that only some of them have says which is meant.
        readings = [r for r in readings if given.keys() <= r.model.model_fields.keys()] or readings
        readings = [r for r in readings if all(given.get(name, value) == value for name, value in r.fixed)]
    if not readings:
        raise _nothing(found, captioned)
    if len(readings) > 1:
        both = " and ".join(f"{r.said} (source: {_flow(r, found)})" for r in readings)
        raise UserError(f"{found.what}: can be read as {both}; name only one of them, or write one into a recipe")
    (reading,) = readings
    rest, phrase = reading.rest()
    fields = {"inputs": found.paths, **dict(reading.fixed), **rest, **given}
    said = ", ".join(part for part in (f"{found.what}: {reading.said}", phrase) if part)
    try:
        return reading.model.model_validate(fields), said
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UserError(f"{said}; but of its options, {wrong}") from None


def _readings(found: Found, given: Mapping[str, Any], captioned: bool) -> Iterator[_Reading]:
    files = found.files
    if found.saved:
        yield _Reading(HuggingfaceOptions, "a dataset saved by `datasets`", lambda: _saved(found, given, captioned))
    if files["tar shard"]:
        said = f"{found.count('tar shard')}, read as webdataset"
        look = partial(_tars, files["tar shard"][0], given)
        yield _Reading(WebdatasetOptions, said, look) if captioned else _Reading(WebdatasetOptions, said)
    if files["picture"]:
        yield from _pictures(found, captioned)
    tables: list[tuple[str, type[SourceOptions]]] = [
        ("JSONL file", JsonlOptions),
        ("table", TableOptions),
        ("Parquet file", TableOptions),
    ]
    for noun, model in tables:
        if files[noun] and _counts(found, noun, captioned, given):
            yield _Reading(model, found.count(noun), _columns(files[noun], given, captioned))
    if files["JSON file"] and _counts(found, "JSON file", captioned, given):
        annotations = coco_files([file for file in files["JSON file"] if isinstance(file, Path)])
        if annotations:
            said = f"{number(len(annotations), 'file')} of COCO-style annotations"
            yield _Reading(CocoOptions, said, lambda: _annotations(found, annotations, given))


def _pictures(found: Found, captioned: bool) -> Iterator[_Reading]:
    said = found.count("picture")
    if not captioned:
        # The lines of a JSONL file name pictures beside it: a folder of both is pictures, the file itself is JSONL.
        beside = bool(found.files["JSONL file"] or found.metadata) and "JSONL file" not in found.named
        yield _Reading(FolderOptions, said + ("; to read a JSONL file beside them, name the file" if beside else ""))
        return
    if found.metadata:
        names = " and ".join(sorted({path.name for path in found.metadata}))
        yield _Reading(FolderOptions, f"{said} with captions in {names}", fixed=(("captions", "metadata"),))
    if found.with_text:
        text = f"{said}, {found.with_text:,} of them with a caption in a .txt beside it"
        yield _Reading(FolderOptions, text, fixed=(("captions", "beside"),))


def _counts(found: Found, noun: str, captioned: bool, given: Mapping[str, Any]) -> bool:
    """Whether files of lines or rows are a reading of their own, and not merely something beside what is meant."""
    others = [kind for kind in ("picture", "tar shard", "JSONL file") if kind != noun and found.files[kind]]
    if noun in found.named or not (others or found.saved):
        return True
    if not captioned:
        return noun == "JSONL file" and not found.files["picture"]
    if noun == "JSON file":
        return True
    # Beside pictures or tars, only a table that says where images are; img2dataset's reports, for one, do not.
    return bool(given.get("image_column")) or has_images(_names(found.files[noun][0], given))


def _names(path: File, given: Mapping[str, Any]) -> list[str]:
    if path.suffix.lower() == ".jsonl":
        return list(first_object(path))
    assert isinstance(path, Path)  # of a store's files, only tars, JSONL and pictures were taken
    return table_columns(path, given.get("separator"), given.get("encoding", "utf-8"))


def _columns(
    files: Sequence[File], given: Mapping[str, Any], captioned: bool
) -> Callable[[], tuple[dict[str, Any], str]]:
    def look() -> tuple[dict[str, Any], str]:
        return name_columns(str(files[0]), _names(files[0], given), given, captioned)

    return look


def _tars(first: File, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Say where the first sample of the first shard has its caption: its .txt, as is usual, or a field of its json."""
    if given.get("caption_key"):
        return {}, ""
    extensions, fields = first_members(first)
    if "txt" in extensions:
        return {}, "captions in .txt"
    columns, _ = name_columns(f"{first}: its json", fields, {"image_column": "jpg"}, True)
    key = f"json:{columns['caption_column']}"
    return {"caption_key": key}, f"captions in {key}"


def _saved(found: Found, given: Mapping[str, Any], captioned: bool) -> tuple[dict[str, Any], str]:
    (path,) = found.saved if len(found.saved) == 1 else (None,)
    if path is None:
        raise UserError(f"{found.what}: {len(found.saved)} saved datasets; give one, or write a mixture into a recipe")
    held = load(Path(path).expanduser(), given.get("split"))
    columns, phrase = name_columns(path, held.column_names, given, captioned)
    return columns, f"{number(len(held), 'row')}, {phrase}"


def _annotations(found: Found, files: Sequence[Path], given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    inputs = {"inputs": [str(path) for path in files]}
    if given.get("images"):
        return inputs, ""
    folders = pictures_of(files, [Path(path).expanduser() for path in found.paths])
    images = sorted(set(folders)) if len(set(folders)) == 1 else folders
    return {**inputs, "images": images}, f"pictures in {', '.join(images)}"


def _nothing(found: Found, captioned: bool) -> UserError:
    what = found.what or "nothing was given"
    if captioned and found.files["picture"]:
        return UserError(
            f"{what}: {found.count('picture')}, but no captions; put photo.txt beside photo.jpg, or a metadata.jsonl "
            "with file_name and text, or name the table that holds them"
        )
    return NotFoundError(f"{what}: neither pictures, tars nor JSONL files, nor csv, tsv or Parquet; name some")


def _flow(reading: _Reading, found: Found) -> str:
    fields = {"kind": reading.model.model_fields["kind"].default, "inputs": found.paths, **dict(reading.fixed)}
    return "{" + ", ".join(f"{name}: {json.dumps(value)}" for name, value in fields.items()).replace('"', "") + "}"
