"""The source `dci`: densely captioned images, joined to one text as the variants of the paper are.

The joining is that of DCI's own code (arXiv 2312.08578, `DenseCaptionedImage`): `get_base_caption`,
`get_extended_caption` and `get_formatted_complete_description`. That MobileCLIP2 used exactly these is said nowhere.
"""

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from captioners.core.errors import UserError
from captioners.core.options import operation
from captioners.data.entries import Entry, ListedSource, Loaded
from captioners.data.image_values import image_bytes
from captioners.data.inputs import open_file
from captioners.data.source import SourceOptions, sources
from captioners.data.texts import BadSampleError

Variant = Literal["short", "extended", "complete"]
ALSO = "The following can also be seen in the image:"
_SENTENCE = re.compile(r".+?[.!?](?=\s+[^a-z]|$)", re.DOTALL)


@sources.register("dci")
class DciOptions(SourceOptions):
    """DCI's annotations, with the photos of SA-1B that they are of."""

    kind: Literal["dci"] = "dci"
    inputs: list[str] = operation(min_length=1, max_length=1)
    """The folder densely_captioned_images, which holds complete/ and splits.json."""
    images: str | None = operation(None)
    """The folder of sa_*.jpg; default: photos/ in that folder."""
    variant: Variant = operation("extended")
    """short: the short caption; extended: and the extra one; complete: and label and caption of every part."""
    splits: list[Literal["train", "valid", "test"]] = Field(["train"], min_length=1)
    """Which images: train (7,599), valid (98), test (108)."""

    def own_card(self) -> str | None:
        """Return DCI's card."""
        return "dci"

    def open(self) -> ListedSource:
        """Return the source."""
        reader = _Reader(self)
        return ListedSource(f"dci-{'-'.join(self.splits)}", reader.entries, lambda: reader.notes)


class _Reader:
    """Lists the annotation files in the order of splits.json; each is read when its sample is."""

    def __init__(self, options: DciOptions) -> None:
        self._options = options
        self.notes: list[str] = []

    def entries(self) -> list[Entry]:
        root = Path(self._options.inputs[0]).expanduser()
        photos = Path(self._options.images).expanduser() if self._options.images else root / "photos"
        for folder in (root / "complete", photos):
            if not folder.is_dir():
                raise UserError(f"{folder}: no such folder; DCI needs complete/, splits.json and the photos of SA-1B")
        listed = _json(root / "splits.json")
        found = []
        for split in self._options.splits:
            names = listed.get(split)
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise UserError(f"{root / 'splits.json'}: has no list {split!r}; there are {', '.join(listed)}")
            for name in names:
                told = (root / "complete", name, self._options.variant)
                load, captions = partial(_load, *told, photos), partial(_captions, *told)
                key = name.removesuffix(".json")
                found.append(Entry(key=key, name=f"complete/{name}", load=load, says=name, captions=captions))
        self.notes = [f"{len(found):,} images of {', '.join(self._options.splits)}, as {self._options.variant}"]
        return found


def text_of(data: Mapping[str, Any], variant: Variant) -> str:
    r"""Return the caption of an image's annotations; empty where there is none.

    Where the short caption is empty, as it is for some images, the first sentence of the extra one stands for it.

    >>> text_of({"short_caption": "A pump.", "extra_caption": "Brick.", "mask_data": {}}, "complete")
    'A pump.\nBrick.'
    """
    short, extra = (str(data.get(name) or "").strip() for name in ("short_caption", "extra_caption"))
    if variant == "short":
        return short or (found[0] if (found := _SENTENCE.match(extra)) else extra)
    text = f"{short}\n{extra}".strip()
    if variant == "extended":
        return text
    parts = [said for mask in (data.get("mask_data") or {}).values() if (said := _part(mask))]
    return "\n".join([text, ALSO, *parts]).strip() if parts else text


def _part(mask: Mapping[str, Any]) -> str:
    """Return what is said of a part: nothing of an unusable mask (2), its label of a poor one (1), else both."""
    label, caption = (str(mask.get(name) or "").strip() for name in ("label", "caption"))
    quality = mask.get("mask_quality")
    if quality == 2:
        return ""
    if quality == 1:
        return label
    return f"{label}: {caption}" if label and caption else label or caption


def _load(complete: Path, name: str, variant: Variant, photos: Path) -> Loaded:
    data = _annotations(complete, name)
    return image_bytes(data.get("image"), "image", photos), _texts(data, variant), {"image": data["image"]}


def _captions(complete: Path, name: str, variant: Variant) -> tuple[str, ...]:
    return _texts(_annotations(complete, name), variant)


def _texts(data: Mapping[str, Any], variant: Variant) -> tuple[str, ...]:
    text = text_of(data, variant)
    return (text,) if text else ()


def _annotations(complete: Path, name: str) -> dict[str, Any]:
    try:
        data = json.loads(image_bytes(name, "splits.json", complete))
    except (ValueError, RecursionError) as error:
        raise BadSampleError("not_json", f"not JSON ({error}); unpack it again") from None
    if not isinstance(data, dict) or not isinstance(data.get("mask_data") or {}, dict):
        raise BadSampleError("not_json", "not the annotations of an image; unpack it again")
    return data


def _json(path: Path) -> dict[str, Any]:
    with open_file(path) as file:
        try:
            read = json.load(file)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: not JSON ({error}); unpack it again") from None
    if not isinstance(read, dict):
        raise UserError(f"{path}: not an object of splits; unpack it again")
    return read
