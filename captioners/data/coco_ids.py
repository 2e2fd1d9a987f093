"""The COCO number of an image, by which a training set and an evaluation set are found to share pictures."""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from captioners.core.errors import UserError
from captioners.data.inputs import open_file
from captioners.data.parquet import open_parquet

# Twelve digits, bare (2017) or behind a split (2014); never a bare number of another length, which may be a line's.
_NAME = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d{12})")


def coco_id(key: str, meta: dict[str, Any]) -> int | None:
    """Return the COCO number of a sample by its meta (`image_id`, `cocoid`) or its key, if it has one.

    >>> coco_id("val2014/COCO_val2014_000000397133", {}), coco_id("00000007", {}), coco_id("7", {"image_id": 391895})
    (397133, None, 391895)
    """
    for name in ("image_id", "cocoid"):
        value = meta.get(name)
        if isinstance(value, int) or (isinstance(value, str) and value.isascii() and value.isdecimal()):
            return int(value)
    named = _NAME.fullmatch(PurePosixPath(key).name.partition(".")[0])
    return int(named[1]) if named else None


def image_ids(path: Path) -> frozenset[int]:
    """Return the COCO numbers that a file lists.

    Read are annotations (`images` with `id`), Karpathy's dataset_coco.json (its split `test`), a Parquet file with a
    column `image_id` (ReCap-COCO), and a text of one number or file name a line.

    Raises UserError for a file that lists none.
    """
    if path.suffix == ".parquet":
        with open_parquet(path) as file:
            there = "image_id" in file.schema_arrow.names
            found = file.read(columns=["image_id"]).column(0).to_pylist() if there else []
        return _some(path, (int(value) for value in found if value is not None))
    with open_file(path) as opened:
        text = opened.read().decode("utf-8", "replace")
    if path.suffix != ".json":
        return _some(path, (id_ for line in text.split() if (id_ := _listed(line)) is not None))
    try:
        images = json.loads(text).get("images", [])
    except (ValueError, RecursionError, AttributeError) as error:
        raise UserError(f"{path}: not an object of JSON with `images` ({error}); which images does it list?") from None
    # Karpathy's file holds all splits; those that are evaluated on are `test`.
    chosen = [image for image in images if isinstance(image, dict) and image.get("split", "test") == "test"]
    return _some(path, (image.get("cocoid", image.get("id")) for image in chosen))


def _listed(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdecimal() else coco_id(word, {})


def _some(path: Path, ids: Any) -> frozenset[int]:
    found = frozenset(id_ for id_ in ids if isinstance(id_, int))
    if not found:
        raise UserError(f"{path}: lists no COCO image ids; give annotations, dataset_coco.json, or one id a line")
    return found
