"""The source `docci`: one long description of each image (docci_descriptions.jsonlines), pictures in a folder."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Literal

from captioners.core.errors import UserError
from captioners.core.options import operation
from captioners.data.entries import Entry, ListedSource, Loaded, keys_of, refused
from captioners.data.image_values import image_bytes
from captioners.data.inputs import find_files, open_file
from captioners.data.jsonl_source import json_object
from captioners.data.line_shards import next_line
from captioners.data.source import SourceOptions, sources
from captioners.data.texts import BadSampleError

Split = Literal["train", "test", "qual_dev", "qual_test"]


@sources.register("docci")
class DocciOptions(SourceOptions):
    """DOCCI's descriptions and pictures."""

    kind: Literal["docci"] = "docci"
    inputs: list[str] = operation()
    """docci_descriptions.jsonlines, or the folder that holds it."""
    images: str = operation()
    """The folder of the pictures: what docci_images.tar.gz unpacks to as `images`."""
    split: Split = "train"
    """train (9,647 images), test (5,000), qual_dev or qual_test (100 each)."""

    def own_card(self) -> str | None:
        """Return DOCCI's card."""
        return "docci"

    def open(self) -> ListedSource:
        """Return the source."""
        reader = _Reader(self)
        return ListedSource(f"docci-{self.split}", reader.entries, lambda: reader.notes)


class _Reader:
    """Reads the descriptions, and counts splits."""

    def __init__(self, options: DocciOptions) -> None:
        self._options = options
        self.notes: list[str] = []

    def entries(self) -> list[Entry]:
        folder = Path(self._options.images).expanduser()
        if not folder.is_dir():
            raise UserError(f"images: {folder} is not a folder; name the one that holds the pictures")
        found: list[Entry] = []
        splits: Counter[str] = Counter()
        for path in find_files(self._options.inputs, (".jsonlines", ".jsonl"), "descriptions").values():
            with open_file(path) as file:
                number = 0
                while line := next_line(file):
                    number += 1
                    if line.strip():
                        found += self._entry(line, f"{path.name} line {number}", folder, splits)
        if not found and splits:
            raise UserError(f"split: no image is of {self._options.split}; there are {', '.join(splits)}")
        several = ", ".join(f"{split} {count:,}" for split, count in splits.items())
        self.notes = [f"{len(found):,} images of the split {self._options.split} ({several})"]
        return found

    def _entry(self, line: bytes, name: str, folder: Path, splits: Counter[str]) -> list[Entry]:
        try:
            fields = json_object(line)
        except BadSampleError as error:
            return [Entry(key=name, name=name, load=refused(error.reason, str(error)), says=line.hex()[:80])]
        split, file, text = (fields.get(column) for column in ("split", "image_file", "description"))
        splits[str(split)] += 1
        if split != self._options.split:
            return []
        if not isinstance(file, str) or not isinstance(text, str):
            load = refused("bad_line", f"lacks image_file or description; it has {', '.join(fields)}")
            return [Entry(key=str(fields.get("example_id") or name), name=name, load=load, says=fields)]
        # Descriptions have line breaks and double spaces within sentences, which mean nothing.
        load = partial(_load, folder, file, " ".join(text.split()), str(fields.get("example_id")))
        return [Entry(key=keys_of([file])[0], name=f"{name}: {file}", load=load, says=[file, text])]


def _load(folder: Path, file: str, text: str, example: str) -> Loaded:
    return image_bytes(file, "image_file", folder), (text,) if text else (), {"example_id": example}
