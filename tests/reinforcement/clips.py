"""Small CLIPs of three architectures with random weights, as directories that open_clip itself reads."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from tests.kinds.tiny_models import BERT, tokenizer

VISION = {"layers": 2, "width": 64, "head_width": 32, "mlp_ratio": 2.0}
TEXT = {"vocab_size": 49408, "width": 48, "heads": 2, "layers": 2}
CONFIGS = {
    "clip": {
        "embed_dim": 48, "quick_gelu": True,
        "vision_cfg": {**VISION, "image_size": 32, "patch_size": 8}, "text_cfg": {**TEXT, "context_length": 77},
    },
    "siglip": {
        "embed_dim": 40, "init_logit_bias": -10.0, "custom_text": True,
        "vision_cfg": {**VISION, "image_size": 32, "patch_size": 16, "pool_type": "avg"},
        "text_cfg": {
            "vocab_size": 40, "width": 48, "heads": 2, "layers": 2, "context_length": 16, "no_causal_mask": True,
            "proj_bias": True, "pool_type": "last", "hf_tokenizer_name": "beside-the-weights",
        },
    },
    "large-input": {
        "embed_dim": 32,
        "vision_cfg": {**VISION, "image_size": 56, "patch_size": 14}, "text_cfg": {**TEXT, "context_length": 24},
    },
}  # fmt: skip
PREPROCESS = {
    "siglip": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"},
    "large-input": {"interpolation": "bilinear"},
}


def write(folder, name, seed=3):
    """Write the architecture `name` of CONFIGS with weights of a seed; return what open_clip calls it."""
    folder, config = Path(folder), CONFIGS[name]
    folder.mkdir(parents=True, exist_ok=True)
    about = {"model_cfg": config, "preprocess_cfg": PREPROCESS.get(name, {})}
    (folder / "open_clip_config.json").write_text(json.dumps(about), encoding="utf-8")
    if "hf_tokenizer_name" in config["text_cfg"]:
        tokenizer(**BERT).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
        with torch.no_grad():
            for weights in model.parameters():  # wide enough that it does not say the same of everything
                weights.add_(torch.randn_like(weights) * 0.1)
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return f"local-dir:{folder}"
