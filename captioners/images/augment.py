"""Crop pictures at random for training, as torchvision's RandomResizedCrop draws boxes, but as a function of a name.

The same (seed, epoch, sample) gives the same box in any process and order. Torch-free: decode processes crop, too.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from PIL import Image
from pydantic import Field, model_validator

from captioners.core.errors import ImageError
from captioners.core.options import Options
from captioners.core.seeds import uniforms
from captioners.images.decode import Picture
from captioners.images.fit import Fit

_TRIES = 10
"""Boxes drawn before the largest one in the middle is taken; torchvision's number."""


class RandomResizedCrop(Options):
    """A part of the picture, brought to the captioner's size (arXiv 1409.4842, section 6)."""

    scale: list[float] = Field([0.9, 1.0], min_length=2, max_length=2)
    """Smallest and largest area of the part, of the picture's; the default is open_clip's."""
    ratio: list[float] = Field([3 / 4, 4 / 3], min_length=2, max_length=2)
    """Smallest and largest width / height of the part."""

    @model_validator(mode="after")
    def _ordered(self) -> "RandomResizedCrop":
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale: {self.scale} is not [smallest, largest] of 0 < area <= 1")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio: {self.ratio} is not [smallest, largest] of width / height above 0")
        return self


class Augmented(Options):
    """Another view of a picture each epoch."""

    random_resized_crop: RandomResizedCrop
    """Which part is shown."""
    horizontal_flip: float = Field(0.0, ge=0, le=1)
    """Share of views that are mirrored. Captions that say left and right are wrong of these."""


Augmentation = Literal["none"] | Augmented
"""What a recipe says under `augmentation:`."""


@dataclass(frozen=True)
class View:
    """One view of one picture."""

    scale: tuple[float, float]
    ratio: tuple[float, float]
    flip: float
    name: tuple[int | str, ...]
    """Whose draws: (seed, epoch, sample)."""

    @classmethod
    def of(cls, augmentation: Augmentation, *name: int | str) -> "View | None":
        """Return the view of that name; None where pictures are not augmented."""
        if augmentation == "none":
            return None
        crop = augmentation.random_resized_crop
        return cls((crop.scale[0], crop.scale[1]), (crop.ratio[0], crop.ratio[1]), augmentation.horizontal_flip, name)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "View":
        """Return the view that `to_json` wrote."""
        return cls(tuple(fields["scale"]), tuple(fields["ratio"]), fields["flip"], tuple(fields["name"]))

    def to_json(self) -> dict[str, Any]:
        """Return its JSON-able fields."""
        return asdict(self)

    def __call__(self, image: Image.Image, fit: Fit) -> Image.Image:
        """Return the view of an RGB picture, of `fit`'s size and by its resampling."""
        drawn = uniforms(4 * _TRIES + 1, "view", *self.name)
        left, top, width, height = crop_box(image.width, image.height, self.scale, self.ratio, drawn[:-1].tolist())
        part = image.crop((left, top, left + width, top + height))
        shown = part.resize((fit.width, fit.height), fit.resampling)
        return shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if drawn[-1] < self.flip else shown


def fitted(picture: Picture, fit: Fit | None, view: View | None = None) -> Picture:
    """Return the picture at a captioner's size: whole as `fit` says, or its `view`; as it is without a `fit`.

    Raises:
        ImageError: `too_narrow`, as `fit` says.
    """
    if fit is None:
        return picture
    try:
        image = view(picture.image, fit) if view else fit(picture.image)
    except ImageError as error:
        raise ImageError(f"{picture.source}: {error}", error.reason) from None
    return replace(picture, image=image)


def crop_box(
    width: int, height: int, scale: Sequence[float], ratio: Sequence[float], drawn: Sequence[float]
) -> tuple[int, int, int, int]:
    """Return (left, top, width, height) of a part of `width` x `height` px.

    As torchvision 0.24's `RandomResizedCrop.get_params`, with 4 of the uniforms `drawn` a try: area, log of the ratio,
    top, left.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for area, shape, down, across in zip(*(iter(drawn),) * 4, strict=True):
        target = width * height * (scale[0] + area * (scale[1] - scale[0]))
        aspect = math.exp(low + shape * (high - low))
        wide, tall = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            return int(across * (width - wide + 1)), int(down * (height - tall + 1)), wide, tall
    wide = max(1, min(width, round(height * ratio[1])))
    tall = max(1, min(height, round(width / ratio[0])))
    return (width - wide) // 2, (height - tall) // 2, wide, tall
