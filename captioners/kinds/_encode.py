"""How the kind `coca` encodes images: exactly on a CPU, otherwise in batches, on CUDA of one fixed size."""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from captioners.models.coca import LoadedCoCa
from captioners.models.tower import encode_exactly

GPU_BATCH = 16
CPU_BATCH = 4
_TEXT_SIDE = ("text_cfg", "multimodal_cfg", "custom_text")


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


def encoding_digest(
    loaded: LoadedCoCa, tower: str | None, preprocess: str, device: torch.device, dtype: torch.dtype, exact: bool
) -> str:
    """Return a sha256 of all that an image's tokens depend on: captioners of the same can share them.

    What is shared is the output of the whole `visual` trunk, attentional pooler included: what each decoder's
    cross-attention makes of it (its norms, keys and values) is its own.
    """
    depends = {
        "tower": tower,
        # Heads and activations are in no tensor.
        "architecture": {key: value for key, value in loaded.model_cfg.items() if key not in _TEXT_SIDE},
        "preprocess": preprocess,
        "arithmetic": [str(device), str(dtype), exact],
    }
    return sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
