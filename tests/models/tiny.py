"""CoCas of random weights, small or at real widths, and the full forward pass they are compared with."""

import json
from functools import lru_cache

import torch
from torch import Tensor

from captioners.models import coca


def tiny_config(context: int = 24, vocabulary: int = 96, width: int = 64, heads: int = 2) -> coca.Config:
    return {
        "embed_dim": width,
        "vision_cfg": {
            "image_size": 32, "patch_size": 8, "layers": 2, "width": 64, "head_width": 32, "mlp_ratio": 2.0,
            "attentional_pool": True, "attn_pooler_queries": 16, "attn_pooler_heads": 2, "output_tokens": True,
        },
        "text_cfg": {
            "context_length": context, "vocab_size": vocabulary, "width": width, "heads": heads, "layers": 2,
            "embed_cls": True, "output_tokens": True,
        },
        "multimodal_cfg": {"context_length": context, "width": width, "heads": heads, "layers": 2},
    }  # fmt: skip


def shallow_image(name: str, layers: int = 1) -> coca.Config:
    """A real architecture with its whole text side and few image layers."""
    config = coca.architecture(name)
    config["vision_cfg"] = {**config["vision_cfg"], "layers": layers}
    return config


@lru_cache(maxsize=1)
def _built(key: str, seed: int):
    return coca.build(json.loads(key), seed)


def built(config: coca.Config, seed: int = 0):
    """A model of random weights, the last one kept: the big ones take seconds to build."""
    return _built(json.dumps(config), seed)


def images(count: int, size: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def image_tokens(model, pictures: Tensor) -> Tensor:
    """[B, N, D], by open_clip's own tower."""
    return model._encode_image(pictures)[1]


@torch.inference_mode()
def full_forward(model, tokens: Tensor, ids: list[list[int]]) -> Tensor:
    """The logits [n, T, V] of open_clip's whole forward for image tokens [n, N, D] and captions [n, T] so far."""
    return model.text_decoder(tokens, model._encode_text(torch.tensor(ids))[1]).float()
