"""Turn RGB pixels into a captioner's input: open_clip's own evaluation transform, wrapped with a digest.

Torch and open_clip are imported when a Preprocess is made, so that decoding alone stays free of them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioners.core.errors import UserError, near
from captioners.images.fit import Fit

if TYPE_CHECKING:
    import torch


class Preprocess:
    """A captioner's evaluation transform (resize, crop, normalise), made from its `preprocess_cfg`.

    `cfg` holds open_clip's PreprocessCfg fields; `size` (px, or [height, width]) must be given, because a silent 224
    would feed a 336-px tower nonsense. Raises UserError on a missing size or an unknown field.
    """

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        known = list(PreprocessCfg.__dataclass_fields__)
        for key in cfg:
            if key not in known:
                hint = near(key, known) or f" Known: {', '.join(known)}"
                raise UserError(f"preprocess_cfg has the unknown field {key!r}.{hint}")
        if "size" not in cfg:
            raise UserError("preprocess_cfg lacks 'size', the image tower's input size in pixels; add it")
        whole = PreprocessCfg(**cfg)
        *_, self._normalise = image_transform_v2(whole, is_train=False).transforms
        self.fit: Fit = Fit.of(asdict(whole))
        """The resize and crop alone: a picture fitted elsewhere (`images.pool`) comes to the same tensor."""
        canonical = json.dumps(asdict(whole), sort_keys=True, separators=(",", ":"))
        self.digest: str = sha256(canonical.encode()).hexdigest()
        """sha256 over the canonical JSON of all fields, defaults written out: equal digests mean equal tensors."""

    def __call__(self, image: Image.Image) -> "torch.Tensor":
        """Return float32 [3, H, W], normalised, for an RGB image of any size; ImageError for a mere line (`fit`)."""
        import torch

        return self.normalised(torch.from_numpy(self.pixels(image))[None])[0]

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return uint8 [3, H, W] of an RGB image, resized and cropped; a quarter of what a model is fed in bytes."""
        return chw(self.fit(image))

    def normalised(self, pixels: "torch.Tensor") -> "torch.Tensor":
        """Return float32 [B, 3, H, W], bit for bit what open_clip's transform gives, of stacked `pixels`."""
        import torch

        images = pixels.to(torch.float32).div_(255)
        means, stds = (torch.tensor(v, device=pixels.device)[:, None, None] for v in (self.means, self.stds))
        return images.sub_(means).div_(stds)

    @property
    def means(self) -> list[float]:
        """Mean of each channel, of 1."""
        return list(self._normalise.mean)

    @property
    def stds(self) -> list[float]:
        """Standard deviation of each channel, of 1."""
        return list(self._normalise.std)


def chw(image: Image.Image) -> NDArray[np.uint8]:
    """Return uint8 [3, H, W] of an RGB image."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
