"""Bring a picture to a captioner's input size as open_clip does before it normalises, without torch.

So decode processes hand on 150 kB instead of a photo's 36 MB, and need no torch themselves. Pixel for pixel what
open_clip 3.3's `image_transform` does with torchvision on Pillow images: same sizes, same rounding, same crop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from PIL import Image, ImageOps

from captioners.core.errors import ImageError, UserError

MOST_PIXELS = 1 << 26
"""Pixels of a picture between its resize and its crop: a line of 1 x 65,000 would take 13 GB there."""

ResizeMode = Literal["shortest", "longest", "squash"]


@dataclass(frozen=True)
class Fit:
    """A resize and a crop to `height` x `width`; a fitted picture passes unchanged."""

    height: int
    width: int
    mode: ResizeMode = "shortest"
    """`shortest`: the shorter side fits, the rest is cut; `longest`: the longer one fits, the rest is filled;
    `squash`: both fit, proportions are lost."""
    resampling: Image.Resampling = Image.Resampling.BICUBIC
    fill: int = 0
    """Of each channel, 0..255, where `longest` leaves room."""

    @classmethod
    def of(cls, cfg: Mapping[str, Any]) -> "Fit":
        """Return the fit that open_clip's PreprocessCfg fields mean: `size`, `resize_mode`, `interpolation` ..."""
        size = cfg["size"]
        sides = [size] if isinstance(size, int) else list(size)
        if not 1 <= len(sides) <= 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise UserError(f"preprocess_cfg has the size {size!r}; it is pixels, or [height, width]")
        mode: ResizeMode = cfg.get("resize_mode") or "shortest"
        if mode not in get_args(ResizeMode):
            raise UserError(f"preprocess_cfg has the resize_mode {mode!r}; it is {', '.join(get_args(ResizeMode))}")
        # For sides that differ, open_clip's `shortest` takes bicubic, whatever was asked for.
        bilinear = cfg.get("interpolation") == "bilinear" and not (mode == "shortest" and sides[0] != sides[-1])
        resampling = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
        return cls(sides[0], sides[-1], mode, resampling, cfg.get("fill_color") or 0)

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the picture at this size; ImageError (`too_narrow`) if it is a line that nothing is seen on."""
        height, width = self.resized(image.height, image.width)
        if not self.can_be(height, width):
            found = f"{image.width} x {image.height} pixels would become {width:,} x {height:,}"
            raise ImageError(f"too long and narrow to be shown to a captioner: {found}; crop it", "too_narrow")
        if (height, width) != (image.height, image.width):
            image = image.resize((width, height), self.resampling)
        return self.cropped(image)

    @staticmethod
    def can_be(height: int, width: int) -> bool:
        """Whether a picture between its resize and its crop is more than a line."""
        return bool(height and width) and height * width <= MOST_PIXELS

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that a picture of these is resized to, before its crop."""
        if self.mode == "squash":
            return self.height, self.width
        if self.mode == "shortest" and self.height == self.width:
            short, long = min(height, width), max(height, width)
            other = int(self.height * long / short)  # torchvision cuts the fraction off ...
            return (self.height, other) if height <= width else (other, self.height)
        tall, wide = height / self.height, width / self.width
        ratio = max(tall, wide) if self.mode == "longest" else min(tall, wide)
        return round(height / ratio), round(width / ratio)  # ... timm's code, which open_clip took over, rounds

    def cropped(self, image: Image.Image) -> Image.Image:
        """Cut, or fill, a resized picture to this size."""
        spare_width, spare_height = self.width - image.width, self.height - image.height
        if spare_width > 0 or spare_height > 0:
            across, down = max(spare_width, 0), max(spare_height, 0)
            border = (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2)
            image = ImageOps.expand(image, border, (self.fill,) * 3)
        if image.size == (self.width, self.height):
            return image
        top, left = round((image.height - self.height) / 2), round((image.width - self.width) / 2)
        return image.crop((left, top, left + self.width, top + self.height))
