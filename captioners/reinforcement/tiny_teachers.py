"""Reduced architectures for teachers of random weights: to try the stage, and to time everything but the teachers."""

from typing import Any

_VISION = {"layers": 2, "width": 64, "head_width": 32, "mlp_ratio": 2.0}
_TEXT = {"vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
_HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

TINY: dict[str, dict[str, Any]] = {
    "tiny": {
        "embed_dim": 48,
        "vision_cfg": {**_VISION, "image_size": 32, "patch_size": 8},
        "text_cfg": {**_TEXT, "context_length": 77},
    },
    "tiny-224": {
        "embed_dim": 64,
        "vision_cfg": {**_VISION, "image_size": 224, "patch_size": 56},
        "text_cfg": {**_TEXT, "context_length": 77},
    },
    "tiny-siglip": {
        "embed_dim": 32,
        "init_logit_bias": -10.0,
        "custom_text": True,
        "vision_cfg": {**_VISION, "image_size": 48, "patch_size": 16, "pool_type": "avg"},
        "text_cfg": {**_TEXT, "context_length": 24, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    },
}
"""Name -> open_clip's `model_cfg`: a CLIP ViT, one at the usual input size, and a SigLIP with its logit bias."""

PREPROCESS: dict[str, dict[str, Any]] = {"tiny-siglip": _HALF}
"""Name -> what its input has other than OpenAI's mean and standard deviation, bicubic."""
