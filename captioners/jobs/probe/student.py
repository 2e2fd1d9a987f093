"""A student: a CLIP of open_clip with random weights, how it is fed, and how it is kept as a directory of its own."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from captioners.core.errors import NotFoundError, UserError, near
from captioners.images.preprocess import Preprocess
from captioners.reinforcement.augmentation import Interpolation

_AT_ONCE = 256
"""Pictures or texts that are embedded together when it is judged."""


@dataclass(frozen=True)
class Student:
    """A model with what it is fed through."""

    model: nn.Module
    tokenize: Callable[[Sequence[str]], Tensor]
    """Texts to token ids, int64 [B, T]; a text too long is cut."""
    preprocess: Preprocess
    config: Mapping[str, Any]
    """open_clip's model configuration."""
    device: torch.device

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its input in px."""
        return self.preprocess.fit.height, self.preprocess.fit.width

    @property
    def interpolation(self) -> Interpolation:
        """Of the resize to its input."""
        name: Any = self.preprocess.fit.resampling.name.lower()
        return name  # type: ignore[no-any-return]

    @property
    def logit_scale(self) -> Tensor:
        """Its inverse temperature, at most 100 as CLIP's."""
        log: Any = self.model.logit_scale
        scale: Tensor = log.exp().clamp(max=100.0)
        return scale

    def images(self, pixels: Tensor) -> Tensor:
        """Return [B, E] of unit length, of uint8 pixels [B, 3, H, W]."""
        model: Any = self.model
        given = self.preprocess.normalised(pixels.to(self.device, non_blocking=True))
        given = given.contiguous(memory_format=torch.channels_last)
        with self._autocast():
            found = model.encode_image(given)
        return F.normalize(found.float(), dim=-1)

    def texts(self, tokens: Tensor) -> Tensor:
        """Return [B, E] of unit length, of token ids."""
        with self._autocast():
            found = _encode_text(self.model, tokens.to(self.device, non_blocking=True))
        return F.normalize(found.float(), dim=-1)

    @torch.inference_mode()
    def embedded_images(self, pixels: Tensor) -> Tensor:
        """Return float32 [B, E] on the CPU of any number of pictures, in evaluation mode."""
        self.model.eval()
        return torch.cat([self.images(part).cpu() for part in torch.split(pixels, _AT_ONCE)])

    @torch.inference_mode()
    def embedded_texts(self, texts: Sequence[str]) -> Tensor:
        """Return float32 [B, E] on the CPU of any number of texts, in evaluation mode."""
        self.model.eval()
        return torch.cat([self.texts(part).cpu() for part in torch.split(self.tokenize(texts), _AT_ONCE)])

    def save(self, folder: Path) -> None:
        """Write it so that open_clip opens it as `local-dir:FOLDER`."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.model.state_dict().items()}
        save_file(state, folder / "open_clip_model.safetensors")
        import open_clip

        about = {"model_cfg": dict(self.config), "preprocess_cfg": open_clip.get_model_preprocess_cfg(self.model)}
        (folder / "open_clip_config.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


def make_student(config: str | Mapping[str, Any], seed: int, device: torch.device | None = None) -> Student:
    """Return a student whose weights are drawn by `seed`, from nobody's random state but ours.

    Raises:
        NotFoundError: open_clip knows no such architecture. UserError: its configuration cannot be built.
    """
    import open_clip
    from open_clip.transform import PreprocessCfg

    found = _config_of(config)
    whole = deepcopy(dict(found))
    custom = whole.pop("custom_text", False)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: Any = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**whole)
        length = found["text_cfg"].get("context_length", 77)
        tokenizer = _tokenizer(config if isinstance(config, str) else None, length)
    except (TypeError, ValueError, KeyError, RuntimeError, AssertionError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"student: open_clip cannot build it ({said}); write its configuration as open_clip does"
        ) from None
    size = found["vision_cfg"].get("image_size", 224)
    open_clip.set_model_preprocess_cfg(model, asdict(PreprocessCfg(size=size)))
    preprocess = Preprocess(open_clip.get_model_preprocess_cfg(model))
    where = device or torch.device("cpu")
    # Channels last: small convolutions take a quarter less time on a CPU.
    model = model.to(where, memory_format=torch.channels_last)
    return Student(model, lambda texts: tokenizer(list(texts)), preprocess, found, where)


def _config_of(config: str | Mapping[str, Any]) -> Mapping[str, Any]:
    import open_clip

    if not isinstance(config, str):
        return config
    found: Mapping[str, Any] | None = open_clip.get_model_config(config)
    if found is None:
        hint = near(config, open_clip.list_models())
        raise NotFoundError(f"student {config}: open_clip knows no such architecture.{hint}")
    return found


@lru_cache  # reading its vocabulary takes longer than a small student's weights
def _tokenizer(name: str | None, context_length: int) -> Any:
    import open_clip

    return open_clip.SimpleTokenizer(context_length=context_length) if name is None else open_clip.get_tokenizer(name)


def _encode_text(model: Any, tokens: Tensor) -> Tensor:
    """Return [B, E] of tokens, without the padding behind the longest text where that changes nothing.

    In a causal tower nothing looks at what stands behind the end token, whose place is that of the highest id.
    """
    import open_clip

    found: Tensor
    causal = type(model) is open_clip.CLIP and model.attn_mask is not None and model.text_pool_type == "argmax"
    if not causal:
        found = model.encode_text(tokens)
        return found
    length = int(tokens.argmax(dim=-1).max()) + 1
    tokens = tokens[:, :length]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    ends: Tensor = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
    projection = model.text_projection
    found = projection(ends) if isinstance(projection, nn.Linear) else ends @ projection
    return found
