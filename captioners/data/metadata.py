"""The Hugging Face imagefolder convention: `metadata.jsonl` or `metadata.csv` beside pictures, one row a picture.

Each metadata file speaks of pictures below its own folder, by `file_name`; their captions are in `text`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.data.columns import Columns, bad_entry, check_columns
from captioners.data.entries import Entry
from captioners.data.inputs import open_file
from captioners.data.jsonl_source import first_object, json_object
from captioners.data.line_shards import next_line
from captioners.data.table_source import table_columns, table_rows
from captioners.data.texts import BadSampleError

METADATA = ("metadata.jsonl", "metadata.csv")
FILE_NAME = "file_name"


def metadata_entries(files: Mapping[str, Path], root: Path, caption_column: str) -> list[Entry]:
    """Return an entry for each picture that metadata files name, in their order; keys are paths below `root`.

    Raises UserError for a file without the columns `file_name` and `caption_column`, and for two files in one folder.
    """
    folders = [path.parent for path in files.values()]
    if len(set(folders)) < len(folders):
        raise UserError(f"{', '.join(files)}: two metadata files in one folder; keep one of them")
    rows: list[tuple[str, Mapping[str, Any]]] = []
    bad: list[Entry] = []
    for name, path in files.items():
        jsonl = path.suffix == ".jsonl"
        there = list(first_object(path)) if jsonl else table_columns(path)
        check_columns(str(path), there, {"the picture's path": FILE_NAME, "caption_column": caption_column})
        for said, found in _jsonl_rows(path, name) if jsonl else table_rows(path, name):
            if isinstance(found, str):
                bad.append(bad_entry(said, "bad_line", found))
            else:
                value = found.get(FILE_NAME)
                below = Path(name).parent
                own = (below / value).as_posix() if isinstance(value, str) and value else value
                rows.append((said, {**found, FILE_NAME: own}))
    return [*Columns(FILE_NAME, caption_column, None, root).grouped(rows), *bad]


def _jsonl_rows(path: Path, name: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    with open_file(path) as file:
        number = 0
        while line := next_line(file):
            number += 1
            if line.strip():
                try:
                    yield f"{name} line {number}", json_object(line)
                except BadSampleError as error:
                    yield f"{name} line {number}", str(error)
