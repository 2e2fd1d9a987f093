"""What lies at paths given on a command line: files by what they may be read as, looked at by name alone."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from captioners.core.errors import UserError
from captioners.core.remote import is_remote
from captioners.data.huggingface_source import is_saved
from captioners.data.inputs import File, expand_braces, find_files, find_inputs
from captioners.data.metadata import METADATA
from captioners.data.tar import COMPRESSED_SUFFIXES
from captioners.images.decode import SUFFIXES

ENDINGS = {
    "tar shard": (".tar", *COMPRESSED_SUFFIXES),
    "JSONL file": (".jsonl",),
    "picture": tuple(SUFFIXES),
    "table": (".csv", ".tsv"),
    "Parquet file": (".parquet",),
    "JSON file": (".json",),
}
"""What a file is called -> how its name ends."""
STREAMED = ("tar shard", "JSONL file", "picture")
"""What is read from elsewhere than this machine."""


@dataclass
class Found:
    """Files at some paths."""

    paths: list[str]
    """As they were given."""
    files: dict[str, list[File]] = field(default_factory=lambda: {kind: [] for kind in ENDINGS})
    """Kind -> files, metadata files not among them unless they were named."""
    metadata: list[File] = field(default_factory=list)
    """metadata.jsonl and metadata.csv in folders that were given."""
    saved: list[str] = field(default_factory=list)
    """Folders that save_to_disk of `datasets` wrote."""
    named: set[str] = field(default_factory=set)
    """Kinds of which a file was named, not only found in a folder."""
    with_text: int = 0
    """Pictures with a .txt of their name beside them."""

    @property
    def what(self) -> str:
        """The paths, for messages."""
        return ", ".join(self.paths)

    def count(self, kind: str) -> str:
        """Return how many files of a kind there are, with its name: '2 tar shards'."""
        return number(len(self.files[kind]), kind)


def number(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> number(1, "picture"), number(1200, "picture")
    ('1 picture', '1,200 pictures')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def find(paths: Sequence[str]) -> Found:
    """Return what lies at files, folders and quoted patterns.

    Raises NotFoundError for a path that does not exist, UserError for a file of no known ending.
    """
    found = Found(list(paths))
    for given in paths:
        if is_remote(given):
            _take_remote(found, given)
            continue
        path = Path(given).expanduser()
        if path.is_dir() and is_saved(path):
            found.saved.append(given)
        elif path.is_dir():
            for folder, names in _folders(path):
                _take(found, folder, names)
        else:
            _take_named(found, given, path)
    return found


def _take(found: Found, folder: Path, names: list[str]) -> None:
    stems = {name[: -len(".txt")] for name in names if name.endswith(".txt")}
    for name in sorted(names):
        kind = _kind(name)
        if name in METADATA:
            found.metadata.append(folder / name)
        elif kind is not None:
            found.files[kind].append(folder / name)
            found.with_text += kind == "picture" and Path(name).stem in stems


def _take_named(found: Found, given: str, path: Path) -> None:
    # A pattern or a file: its ending says what it is meant to be, and finding nothing is find_files' to tell.
    kind = _kind(expand_braces(given)[0])
    if kind is None and path.exists():
        known = ", ".join((".tar", ".jsonl", ".csv", ".parquet", ".jpg", ".png"))
        raise UserError(f"{given}: not a file that a source reads ({known}, ...); give one of these, or a folder")
    for file in find_files([given], (), "files").values():
        own = _kind(file.name)
        if own is not None:
            found.files[own].append(file)
            found.named.add(own)
            found.with_text += own == "picture" and file.with_suffix(".txt").is_file()


def _take_remote(found: Found, given: str) -> None:
    endings = tuple(ending for kind in STREAMED for ending in ENDINGS[kind])
    files = list(find_inputs([given], (*endings, ".txt"), "files").values())
    texts = {str(file.with_suffix("")) for file in files if file.suffix == ".txt"}
    named = _kind(expand_braces(given)[0])
    for file in files:
        kind = _kind(file.name)
        if file.name in METADATA:
            found.metadata.append(file)
        elif kind in STREAMED:
            found.files[kind].append(file)
            found.named |= {kind} & {named}
            found.with_text += kind == "picture" and str(file.with_suffix("")) in texts


def _kind(name: str) -> str | None:
    return next((kind for kind, endings in ENDINGS.items() if name.lower().endswith(endings)), None)


def _folders(path: Path) -> Iterator[tuple[Path, list[str]]]:
    for where, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield Path(where), [name for name in files if not name.startswith(".")]
