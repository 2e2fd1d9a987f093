"""From a picture's bytes to a captioner's size in one step, which the profile `fast` takes three times faster.

`fast` is `upright` with simplejpeg's decoder, whose pixels are Pillow's, and torchvision's vectorised resize of bytes.
That one keeps its weights in 16 bits: a pixel is a grey level off Pillow's here and there (two where pictures are
enlarged), 0.0001 of a normalised unit on average. So it has a name of its own, which is part of a layer's fingerprint.
What is not a plain JPEG that stands upright goes the way of `upright`.
"""

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioners.core.errors import ImageError, UserError
from captioners.images.augment import View, fitted
from captioners.images.decode import ORIENTATION, AnyProfile, Picture, open_header, read_image, sha256_of
from captioners.images.fit import Fit


def check_profile(profile: AnyProfile) -> None:
    """Raise UserError if this installation cannot decode so."""
    if profile == "fast" and find_spec("simplejpeg") is None:
        raise UserError("the decode profile 'fast' needs simplejpeg: pip install 'captioners[fast]', or take upright")


def picture_of(
    data: bytes, profile: AnyProfile, max_pixels: int, name: str, fit: Fit | None, view: View | None = None
) -> Picture:
    """Decode a picture and bring it to a captioner's size (`fit`), whole or as its `view`; raises as `read_image`."""
    if profile != "fast":
        return fitted(read_image(data, profile, max_pixels, name), fit, view)
    found = _fast(data, max_pixels, name, fit) if fit is not None and view is None else None
    return found or fitted(read_image(data, "upright", max_pixels, name), fit, view)


def _fast(data: bytes, max_pixels: int, name: str, fit: Fit) -> Picture | None:
    """Return the picture at its size, or None if it has to go the common way, which also says what is wrong with it."""
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    import simplejpeg

    try:
        header = open_header(data, name)
        if header.mode != "RGB" or header.width * header.height > max_pixels:
            return None
        if header.getexif().get(ORIENTATION, 1) != 1:
            return None
        pixels = simplejpeg.decode_jpeg(data)
    except (ImageError, ValueError, SyntaxError, OSError):
        return None
    height, width = fit.resized(*pixels.shape[:2])
    if not fit.can_be(height, width):
        return None
    image = fit.cropped(Image.fromarray(_resized(pixels, height, width, fit)))
    return Picture(image, sha256_of(data), name, pixels.shape[1], pixels.shape[0])


def _resized(pixels: NDArray[np.uint8], height: int, width: int, fit: Fit) -> NDArray[np.uint8]:
    """Return uint8 [height, width, 3]; torch sees a view of it as [3, H, W], which is its quickest way."""
    if pixels.shape[:2] == (height, width):
        return pixels
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    bilinear = fit.resampling == Image.Resampling.BILINEAR
    how = InterpolationMode.BILINEAR if bilinear else InterpolationMode.BICUBIC
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    resized: torch.Tensor = functional.resize(image, [height, width], interpolation=how, antialias=True)
    return resized.permute(1, 2, 0).contiguous().numpy()
