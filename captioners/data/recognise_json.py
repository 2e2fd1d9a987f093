"""COCO-style annotations among JSON files, and the folders that their pictures are in."""

import mmap
from collections.abc import Sequence
from pathlib import Path

from captioners.core.errors import UserError
from captioners.data.coco_source import read_coco

_KEYS = (b'"images"', b'"annotations"', b'"caption"')
_LOOKED_AT = 50


def coco_files(files: Sequence[Path]) -> list[Path]:
    """Return those files that hold the three words of COCO-style captions, without taking them apart."""
    found = []
    for path in files:
        if path.stat().st_size > sum(map(len, _KEYS)):
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                if all(data.find(key) >= 0 for key in _KEYS):
                    found.append(path)
    return found


def pictures_of(files: Sequence[Path], given: Sequence[Path]) -> list[str]:
    """Return for each annotation file the one folder near it, or near what was given, that holds its pictures.

    Raises UserError where none does, or several do.
    """
    return [_folder(path, given) for path in files]


def _folder(path: Path, given: Sequence[Path]) -> str:
    names = [str(image.get("file_name")) for image in read_coco(path)["images"][:_LOOKED_AT]]
    tops = dict.fromkeys([path.parent, path.parent.parent, *(top for top in given if top.is_dir())])
    near = [folder for top in tops for folder in (top, *sorted(p for p in top.iterdir() if p.is_dir()))]
    found = [folder for folder in dict.fromkeys(near) if any((folder / name).is_file() for name in names)]
    if len(found) == 1:
        return str(found[0])
    asked = "say source.images='[FOLDER]'"
    if found:
        raise UserError(f"{path}: its pictures are in {' and in '.join(map(str, found))}; {asked}")
    searched = ", ".join(map(str, tops))
    raise UserError(f"{path}: {names[0] if names else 'no picture'} is not in or below {searched}; {asked}")
