"""The source `coco`: COCO-style annotations with several captions an image, their pictures in folders beside them.

A choice by licence is a choice by what a licence is, its address, not by its number alone: a file whose table of
licences is another than MSCOCO's is refused.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from captioners.core.errors import UserError
from captioners.core.options import operation
from captioners.data.coco_ids import image_ids
from captioners.data.entries import Entry, ListedSource, Loaded, keys_of, refused
from captioners.data.image_values import image_bytes
from captioners.data.inputs import find_files, open_file
from captioners.data.source import SourceOptions, sources

LICENCES = {
    1: "creativecommons.org/licenses/by-nc-sa/2.0",
    2: "creativecommons.org/licenses/by-nc/2.0",
    3: "creativecommons.org/licenses/by-nc-nd/2.0",
    4: "creativecommons.org/licenses/by/2.0",
    5: "creativecommons.org/licenses/by-sa/2.0",
    6: "creativecommons.org/licenses/by-nd/2.0",
    7: "flickr.com/commons/usage",
    8: "www.usa.gov/copyright.shtml",
}
"""MSCOCO's table of licences, id -> address without scheme and last slash; the same in 2014 and 2017."""
COMMERCIAL = frozenset({4, 5, 6})
"""What MSCOCO-38k is built from: CC BY, BY-SA and BY-ND (MobileCLIP2, section 2.5)."""
_WHOLE = 123_287
_EXPECTED = range(37_000, 39_001)
_MSCOCO = {f"captions_{split}{year}.json" for split in ("train", "val") for year in (2014, 2017)}


@sources.register("coco")
class CocoOptions(SourceOptions):
    """COCO-style json of captions, and folders of pictures."""

    kind: Literal["coco"] = "coco"
    inputs: list[str] = operation()
    """Annotation files (captions_train2017.json, captions_val2017.json), folders of them or quoted patterns."""
    images: list[str] = operation(min_length=1)
    """Folders of the pictures: one for each of the annotation files in their order, or one for all of them."""
    licences: list[int] | None = Field(None, min_length=1)
    """Only images of these licences: [4, 5, 6] makes MSCOCO-38k of MSCOCO-123k; default: all images."""
    exclude: list[str] = Field([])
    """Files of image ids to leave out: Karpathy's dataset_coco.json, other annotations, or a list of ids."""

    def own_card(self) -> str | None:
        """Return MSCOCO's card for files of its names; any other COCO-style file is somebody's own."""
        if not any(PurePosixPath(given).name in _MSCOCO for given in self.inputs):
            return None
        return "mscoco_38k" if self.licences is not None and COMMERCIAL.issuperset(self.licences) else "mscoco_123k"

    def open(self) -> ListedSource:
        """Return the source."""
        reader = _Reader(self)
        return ListedSource("coco", reader.entries, lambda: reader.notes)


class _Reader:
    """Reads the annotation files, and counts."""

    def __init__(self, options: CocoOptions) -> None:
        self._options = options
        self.notes: list[str] = []

    def entries(self) -> list[Entry]:
        files = find_files(self._options.inputs, (".json",), "annotation files")
        folders = [Path(given).expanduser() for given in self._options.images]
        if len(folders) not in (1, len(files)):
            what = f"{len(folders)} folders for {len(files)} annotation files"
            raise UserError(f"images: {what} ({', '.join(files)}); name one for each, or one for all")
        for folder in folders:
            if not folder.is_dir():
                raise UserError(f"images: {folder} is not a folder; name the one that holds the pictures")
        left_out = frozenset[int]().union(*(image_ids(Path(given).expanduser()) for given in self._options.exclude))
        found: list[Entry] = []
        total = excluded = 0
        for number, path in enumerate(files.values()):
            read = read_coco(path)
            total += len(read["images"])
            kept = self._licensed(read, path)
            remaining = [image for image in kept if image.get("id") not in left_out]
            excluded += len(kept) - len(remaining)
            found += _entries(remaining, read, path, folders[number % len(folders)])
        self._tell(found, total, excluded)
        return found

    def _licensed(self, read: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
        images: list[dict[str, Any]] = read["images"]
        if self._options.licences is None:
            return images
        table = _table(read)
        wrong = [
            f"{id_}: {table.get(id_, 'not there')}, expected {LICENCES.get(id_, 'no such licence')}"
            for id_ in sorted({*table, *LICENCES, *self._options.licences})
            if id_ not in LICENCES or table.get(id_) != LICENCES[id_]
        ]
        if wrong:
            raise UserError(
                f"{path}: its licences are not MSCOCO's ({'; '.join(wrong)}), so licences: {self._options.licences} "
                "may mean others; leave `licences` out, or bring the original file"
            )
        return [image for image in images if image.get("license") in self._options.licences]

    def _tell(self, found: Sequence[Entry], total: int, excluded: int) -> None:
        captions = sum(len(entry.says) - 1 for entry in found)
        chosen = len(found) + excluded
        self.notes = [f"{len(found):,} of {total:,} images, {captions:,} captions"]
        if self._options.licences is not None:
            named = ", ".join(f"{id_} {LICENCES[id_]}" for id_ in self._options.licences)
            self.notes.append(f"{chosen:,} of {total:,} images have the licences {named}")
            if set(self._options.licences) == COMMERCIAL and total == _WHOLE and chosen not in _EXPECTED:
                self.notes.append(f"warning: MSCOCO-38k should be about 38,000 images, and these are {chosen:,}")
        if self._options.exclude:
            self.notes.append(f"{excluded:,} images left out that stand in {', '.join(self._options.exclude)}")


def read_coco(path: Path) -> dict[str, Any]:
    """Return a file's object with its lists `images` and `annotations`; UserError where it is none of captions."""
    with open_file(path) as file:
        try:
            read = json.load(file)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: not JSON ({error}); copy or download it again") from None
    lists = [name for name in ("images", "annotations") if isinstance(read, dict) and isinstance(read.get(name), list)]
    if len(lists) < 2 or not all(isinstance(item, dict) for name in lists for item in read[name]):
        raise UserError(f"{path}: not COCO-style captions, which have lists `images` and `annotations`")
    if not any("caption" in annotation for annotation in read["annotations"]):
        raise UserError(f"{path}: its annotations hold no `caption`; name the captions_*.json, not instances_*.json")
    return dict(read)


def _table(read: Mapping[str, Any]) -> dict[Any, str]:
    rows = [row for row in read.get("licenses") or [] if isinstance(row, dict)]
    return {row.get("id"): str(row.get("url")).partition("://")[2].rstrip("/") for row in rows}


def _entries(images: Sequence[dict[str, Any]], read: Mapping[str, Any], path: Path, folder: Path) -> list[Entry]:
    captions: dict[Any, list[str]] = defaultdict(list)
    for annotation in read["annotations"]:
        text = annotation.get("caption")
        if isinstance(text, str) and text.strip():
            captions[annotation.get("image_id")].append(" ".join(text.split()))
    table = _table(read)
    names = [str(image.get("file_name") or f"image {n}") for n, image in enumerate(images)]
    found = []
    for image, name, key in zip(images, names, keys_of(names), strict=True):
        several = tuple(captions[image.get("id")])
        if not isinstance(image.get("file_name"), str) or not isinstance(image.get("id"), int):
            load = refused("no_image", f"has no file_name or no id: {str(image)[:80]}")
        else:
            meta = {"image_id": image["id"], "licence": table.get(image.get("license"), "unspecified")}
            load = partial(_load, folder, name, several, meta)
        found.append(Entry(key=key, name=f"{path.name}: {name}", load=load, says=[name, *several]))
    return found


def _load(folder: Path, name: str, captions: tuple[str, ...], meta: dict[str, Any]) -> Loaded:
    return image_bytes(name, "file_name", folder), captions, meta
