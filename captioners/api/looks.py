"""To look at, in a notebook: pictures with their captions, and the pages that runs write."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from captioners.api.captioner import Picture
from captioners.core.errors import UserError
from captioners.report import gallery as parts
from captioners.report.page import Picture as Shown

_SIDE = 192


@dataclass(frozen=True, repr=False)
class Gallery:
    """Pictures with captions; a notebook shows it, elsewhere its text can be printed. Made by `gallery`."""

    pictures: Sequence[Shown]

    def __repr__(self) -> str:
        return parts.gallery_text(self.pictures)

    def _repr_html_(self) -> str:
        return parts.gallery_html(self.pictures)


@dataclass(frozen=True)
class Report(os.PathLike[str]):
    """A page that was written: its path, wherever one is asked for; a notebook shows its first pictures."""

    path: str
    gallery: Gallery = field(default=Gallery(()), repr=False)

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path

    def _repr_html_(self) -> str:
        shown = self.gallery._repr_html_() if self.gallery.pictures else ""
        return parts.link_html(self.path) + shown


def gallery(
    images: Picture | Iterable[Picture], *, keys: Sequence[str] = (), side: int = _SIDE, **captions: Sequence[Any]
) -> Gallery:
    """Set pictures and their captions beside each other.

    Args:
        images: paths, the bytes of picture files, or PIL images, one or several.
        keys: what each is called; default: file names, or numbers.
        side: longest side of a picture, in px.
        captions: by who says them, for each image a caption or several: text, or what `Captioner.caption` returned.

    Raises:
        UserError: a picture cannot be read (ImageError), or someone's captions are not one entry for each picture.

    >>> gallery(Image.new("RGB", (8, 8)), keys=["blank"], before=["a black square"], after=[["black", "nothing"]])
    blank
      before: a black square
      after: black
      after: nothing
    """
    several = [images] if isinstance(images, str | os.PathLike | bytes | Image.Image) else list(images)
    for who, said in {**captions, **({"keys": keys} if keys else {})}.items():
        if len(said) != len(several):
            raise UserError(f"{who}: {len(said)} for {len(several)} pictures; give one entry for each picture")
    names = keys or [_name(image, place) for place, image in enumerate(several)]
    return Gallery(
        [
            parts.picture(name, _opened(image), {who: _texts(said[place]) for who, said in captions.items()}, side)
            for place, (name, image) in enumerate(zip(names, several, strict=True))
        ]
    )


def _name(image: Picture, place: int) -> str:
    return os.path.basename(image) if isinstance(image, str | os.PathLike) else str(place)  # noqa: PTH119


def _opened(image: Picture) -> Image.Image:
    from captioners.images.decode import read_image

    return image if isinstance(image, Image.Image) else read_image(image).image


def _texts(said: Any) -> list[str]:
    several = [said] if isinstance(said, str) or hasattr(said, "text") else said
    return [one if isinstance(one, str) else one.text for one in several]
