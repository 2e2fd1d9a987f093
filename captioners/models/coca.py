"""Build, load and resize a CoCa: open_clip's architecture and weights, mended (Yu et al. 2022, arXiv 2205.01917).

open_clip never initialises the decoder's vocabulary projection and stretches the position table of a longer context by
interpolating every row, CLS included; both are mended here. Context lengths are open_clip's
`text_cfg.context_length`: token slots with start and end, without CLS, so the position table has context_length + 1
rows.
"""

import json
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captioners.core.errors import NotFoundError, UserError, near
from captioners.models.weights import State, fit, read_weights

Config = dict[str, Any]

POSITIONS = "text.positional_embedding"
PREPROCESS: Config = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
"""How every released CoCa was trained to see: OpenAI's statistics, shortest side resized bicubic, centre crop."""

WEIGHT_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
)
"""What open_clip looks for in a model directory, in its order."""


@dataclass(frozen=True)
class LoadedCoCa:
    """A CoCa in evaluation mode, with the configuration it really has."""

    model: nn.Module
    """open_clip's `CoCa`."""
    model_cfg: Config
    """open_clip's model configuration with the final context lengths."""
    preprocess_cfg: Config = field(default_factory=lambda: dict(PREPROCESS))
    weights_file: Path | None = None
    """Where the weights lie; None for random weights or a resized context."""

    @property
    def context_length(self) -> int:
        """Token slots, start and end included, CLS not."""
        return int(self.model_cfg["text_cfg"]["context_length"])


def context_rows(length: int) -> int:
    """Return open_clip's context length for a user's: 77, 128 and 256 name the table rows of 76, 127 and 255.

    >>> context_rows(77), context_rows(255), context_rows(40)
    (76, 255, 40)
    """
    return {77: 76, 128: 127, 256: 255}.get(length, length)


def architecture(name: str) -> Config:
    """Return open_clip's configuration of a `coca_*` architecture.

    Raises:
        NotFoundError: open_clip knows no CoCa of that name; near names are given.
    """
    import open_clip

    config = open_clip.get_model_config(name) if "coca" in name.lower() else None
    if config is None:
        known = [known for known in open_clip.list_models() if "coca" in known.lower()]
        raise NotFoundError(f"no CoCa architecture is named '{name}'.{near(name, known)} Known: {', '.join(known)}")
    return dict(config)


def with_context(config: Config, context_length: int) -> Config:
    """Return the configuration with another context in *both* towers; `force_context_length` changes only one."""
    changed = deepcopy(config)
    for tower in ("text_cfg", "multimodal_cfg"):
        changed[tower]["context_length"] = context_length
    return changed


def _construct(config: Config) -> nn.Module:
    from open_clip import CoCa

    arguments = {key: value for key, value in config.items() if key != "custom_text"}
    try:
        model: nn.Module = CoCa(**arguments)
    except (TypeError, KeyError, ValueError, AssertionError) as error:
        raise UserError(f"this is no CoCa configuration open_clip can build: {error}") from None
    return model


def outline(config: Config) -> nn.Module:
    """Return a CoCa without weights, on the meta device: its shapes alone, at no cost."""
    with torch.device("meta"):
        return _construct(config)


def build(config: Config, seed: int = 0) -> nn.Module:
    """Return a CoCa with random weights that depend on (config, seed) alone; the global random state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would also seed the GPUs
        model = _construct(config)
        _initialise_decoder(model)
    return model.eval()


def _initialise_decoder(model: nn.Module) -> None:
    """Give the decoder what open_clip's own `init_parameters` means to: that is never called, and would raise."""
    decoder: Any = model.get_submodule("text_decoder")
    width, layers = decoder.width, decoder.layers
    for block in (*decoder.resblocks, *decoder.cross_attn):
        nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
        nn.init.normal_(block.attn.out_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
        nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(block.mlp.c_proj.weight, std=width**-0.5 * (2 * layers) ** -0.5)
    nn.init.normal_(decoder.text_projection, std=width**-0.5)


def from_state(config: Config, state: State, source: str) -> nn.Module:
    """Return a CoCa holding exactly these tensors; nothing is initialised first, so mapped files stay mapped.

    Raises:
        UserError: the tensors do not fit the architecture.
    """
    model = outline(config)
    fit(model, state, source)
    lengths = {"text": state[POSITIONS].shape[0], "text_decoder": int(config["multimodal_cfg"]["context_length"])}
    for name, rows in lengths.items():  # not in a file, so still without a value
        mask = torch.full((rows, rows), float("-inf")).triu_(1)
        model.get_submodule(name).register_buffer("attn_mask", mask, persistent=False)
    return model.eval()


def resize_positions(table: Tensor, context_length: int) -> Tensor:
    """Return the position table [context_length + 1, D] for another context: token rows kept, the CLS row at the end.

    New token rows continue the table by stretching its second half linearly, so that late positions stay late; they are
    a start for fine-tuning, not a promise.
    """
    tokens, cls = table[:-1], table[-1:]
    old = tokens.shape[0]
    if context_length <= old:
        return torch.cat([tokens[:context_length], cls])
    tail = tokens[old // 2 :].float().T[None]
    stretched = nn.functional.interpolate(tail, size=context_length - old + 1, mode="linear", align_corners=True)[0].T
    return torch.cat([tokens, stretched[1:].to(table.dtype), cls])  # the last new row is the last old one


def resize_context(loaded: LoadedCoCa, context_length: int) -> LoadedCoCa:
    """Return the same captioner with another context in both towers (design section 9)."""
    if context_length == loaded.context_length:
        return loaded
    minimum = 3  # start, one token, end
    if context_length < minimum:
        raise UserError(
            f"context length {context_length} is too small: it holds start, one token and end, so {minimum} or more"
        )
    state = dict(loaded.model.state_dict())
    state[POSITIONS] = resize_positions(state[POSITIONS], context_length)
    config = with_context(loaded.model_cfg, context_length)
    return LoadedCoCa(from_state(config, state, "resized"), config, loaded.preprocess_cfg)


def load_file(config: Config, path: str | Path, preprocess: Config | None = None) -> LoadedCoCa:
    """Load a plain weights file into an architecture, taking the context from the position table the file holds.

    Raises:
        NotFoundError, UserError: no such file, not plain tensors, or tensors that do not fit.
    """
    state = read_weights(path)
    state.pop("text.transformer.embeddings.position_ids", None)  # old Hugging Face towers saved this constant
    if POSITIONS in state:
        config = with_context(config, state[POSITIONS].shape[0] - 1)
    return LoadedCoCa(from_state(config, state, str(path)), config, {**PREPROCESS, **(preprocess or {})}, Path(path))


def load_directory(path: str | Path) -> LoadedCoCa:
    """Load a directory in open_clip's `local-dir:` format: `open_clip_config.json` and a weights file.

    Raises:
        NotFoundError, UserError: a file is missing, or they do not fit each other.
    """
    path = Path(path)
    config_file = path / "open_clip_config.json"
    if not config_file.is_file():
        raise NotFoundError(f"captioner {path}: holds no open_clip_config.json, so it is no captioner directory")
    try:
        whole = json.loads(config_file.read_text(encoding="utf-8"))
        config, preprocess = dict(whole["model_cfg"]), whole.get("preprocess_cfg", {})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"captioner {path}: open_clip_config.json is not readable JSON with 'model_cfg'; export it again"
        ) from None
    if "multimodal_cfg" not in config:
        raise UserError(
            f"captioner {path}: its configuration has no multimodal_cfg, so it's a CLIP, not a CoCa, and can't caption"
        )
    if not all(isinstance(config.get(tower), dict) for tower in ("vision_cfg", "text_cfg", "multimodal_cfg")):
        raise UserError(f"captioner {path}: its configuration lacks vision_cfg or text_cfg; export it again")
    weights = next((path / name for name in WEIGHT_FILES if (path / name).is_file()), None)
    if weights is None:
        raise NotFoundError(f"captioner {path}: holds no weights; expected one of {', '.join(WEIGHT_FILES)}")
    return load_file(config, weights, preprocess)
