"""Rows of named columns as samples: which column is the image, the caption, the key, and rows of one image together."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError, near
from captioners.data.entries import Entry, Loaded, keys_of, refused
from captioners.data.image_values import image_bytes, is_base64
from captioners.data.texts import BadSampleError, texts


def check_columns(where: str, there: Sequence[str], asked: Mapping[str, str | None]) -> None:
    """Raise UserError for the first option of `asked` (option -> column) whose column is not among those there."""
    for option, column in asked.items():
        if column is not None and column not in there:
            known = f"It has: {', '.join(there)}"
            hint = near(column, there) if len(there) > 1 else " Is the separator another one?"
            raise UserError(f"{where}: has no column {column!r} ({option}).{hint} {known}")


class Columns:
    """Makes entries of rows."""

    def __init__(self, image: str, caption: str | None, key: str | None, root: Path) -> None:
        """`root` is where paths in the column `image` begin, and what they stay in."""
        self.image, self.caption, self.key, self.root = image, caption, key, root

    def entry(self, row: Mapping[str, Any], name: str, number: int) -> Entry:
        """Return the entry of one row by itself, for rows that hold their pictures; its key defaults to its number."""
        key, load = f"{number:08d}", partial(self._load, (row,))
        if self.key is not None:
            try:
                key = _key(row.get(self.key), self.key)
            except BadSampleError as error:
                load = partial(_raise, error)
        return Entry(key, name, load)

    def grouped(self, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Entry]:
        """Return an entry for each image that (name, row) pairs tell of: rows with the same path are captions of one.

        Its key is the path without suffix; of a row without a path, its name.
        """
        together: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
        for name, row in rows:
            value = row.get(self.image)
            whole = isinstance(value, str) and value and not is_base64(value)
            together.setdefault(str(value) if whole else name, []).append((name, row))
        found = []
        # A row without a path stands alone, and its name is no path whose suffix could go.
        paths = [path for path, several in together.items() if path != several[0][0]]
        keys = dict(zip(paths, keys_of(paths), strict=True))
        for path, several in together.items():
            name, first = several[0]
            key = keys.get(path, name)
            load = partial(self._load, tuple(row for _, row in several))
            says = [path, *(row.get(self.caption) if self.caption else None for _, row in several)]
            if self.key is not None:
                try:
                    key = _key(first.get(self.key), self.key)
                except BadSampleError as error:
                    load = partial(_raise, error)
            found.append(Entry(key, name, load, says))
        return found

    def _load(self, rows: Sequence[Mapping[str, Any]]) -> Loaded:
        captions: dict[str, None] = {}
        for row in rows if self.caption else ():
            found = texts(row.get(str(self.caption)))
            if found is None:
                raise BadSampleError("bad_caption", f"{self.caption!r} is neither a text nor a list of texts")
            captions.update(dict.fromkeys(found))
        own = (self.image, self.caption, self.key)
        meta = {name: value for name, value in rows[0].items() if name not in own and _plain(value)}
        return image_bytes(rows[0].get(self.image), self.image, self.root), tuple(captions), meta


def bad_entry(name: str, reason: str, error: str) -> Entry:
    """Return the entry of a row that cannot be taken apart."""
    return Entry(name, name, refused(reason, error), error)


def _key(value: Any, column: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).isprintable() or value == "":
        raise BadSampleError("bad_line", f"the column {column!r} holds no key: {value!r:.40}")
    return str(value)


def _raise(error: BadSampleError) -> Loaded:
    raise error


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list | dict)
