"""How the kind `coca` encodes images: exactly on a CPU, otherwise in batches, on CUDA of one fixed size."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captioners.models.tower import encode_exactly

GPU_BATCH = 16
CPU_BATCH = 4


def encoder(model: Any, device: torch.device, dtype: torch.dtype, exact: bool) -> Callable[[Tensor], Tensor]:
    """Return what makes of images [B, 3, H, W] the decoder's image tokens [B, N, D], in fp32."""
    if device.type == "cpu" and exact:
        return lambda images: encode_exactly(model.visual, images)

    def encode(images: Tensor) -> Tensor:
        count = images.shape[0]
        if device.type == "cuda":  # one shape for every batch: filler images are thrown away
            filler = images.new_zeros(GPU_BATCH - count, *images.shape[1:])
            images = torch.cat([images, filler]).to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
            tokens: Tensor = model._encode_image(images)[1]
        return tokens[:count].float()

    return encode
