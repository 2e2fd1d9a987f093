"""Frozen teachers of open_clip and their ensemble: pictures and captions in, one block of unit length per teacher out.

Each teacher sees pictures at its own input size, mean and standard deviation, and captions by its own tokenizer; how a
picture comes to that size is the augmentation's to say, so that it can be replayed. On a CPU each chunk is the work of
one thread, so the number of threads changes no bit of a result.
"""

import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from captioners.core.errors import NotFoundError, UserError, near
from captioners.images.preprocess import Preprocess
from captioners.reinforcement.teacher_options import RANDOM, TeacherOptions
from captioners.reinforcement.tiny_teachers import PREPROCESS, TINY

Pixels = NDArray[np.uint8]
Embeddings = NDArray[np.float32]

_PROBES = ("a photo of a cat", "Zwei Bären, 3.5 kg — «naïve»!", "word " * 200)
"""Texts whose tokens tell tokenizers apart: plain, odd, and longer than any context."""

_NO_WEIGHTS = (EOFError, UnpicklingError, SafetensorError)
"""What a file that is no checkpoint makes torch and safetensors raise, beside the errors of any code."""
_SAID = 160
"""Characters of another library's message that are shown."""


class Teacher:
    """One model, in evaluation mode, without gradients."""

    def __init__(
        self,
        options: TeacherOptions,
        model: nn.Module,
        tokenizer: Callable[[list[str]], Tensor],
        device: torch.device,
        bfloat16: bool = False,
    ) -> None:
        """Take a model; `bfloat16`: on CUDA its products are bf16. Raise UserError for an input that is not square."""
        import open_clip

        cfg = open_clip.get_model_preprocess_cfg(model)
        self.options, self.model, self.device = options, model.eval().to(device), device
        self.preprocess = Preprocess(cfg)
        fit = self.preprocess.fit
        if fit.height != fit.width:
            raise UserError(
                f"teacher {options.called}: its input is {fit.width} x {fit.height}; crops are square, so name another"
            )
        self.size = fit.height
        """Height and width of its input in px."""
        self._tokenizer = tokenizer
        self.autocast = bfloat16 and device.type == "cuda"
        with torch.inference_mode():
            self.dim = int(self.texts(self.tokens([""])).shape[1])

    @property
    def scale(self) -> float:
        """The logit scale: as the recipe says, else the one that was trained."""
        trained: Any = self.model.logit_scale
        return self.options.scale or round(math.exp(trained.item()), 4)

    @cached_property
    def architecture_digest(self) -> str:
        """A sha256 of what the modules are and how they are set: activations, heads and pooling are in no weights."""
        return sha256(json.dumps([_settings(*one) for one in self.model.named_modules()]).encode()).hexdigest()

    @cached_property
    def tokens_digest(self) -> str:
        """A sha256 of what the tokenizer makes of a few texts: equal for teachers that are fed equal tokens."""
        return sha256(self.tokens(list(_PROBES)).numpy().astype(np.int64).tobytes()).hexdigest()

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Return token ids [B, T] of this teacher's own tokenizer; a text too long is cut, as in its training."""
        return self._tokenizer(list(texts))

    @torch.inference_mode()
    def images(self, pixels: Tensor) -> Tensor:
        """Return [B, D] of unit length, float32, of uint8 pixels [B, 3, size, size] that are not yet normalised."""
        return self._encoded("encode_image", self.preprocess.normalised(pixels.to(self.device, non_blocking=True)))

    @torch.inference_mode()
    def texts(self, tokens: Tensor) -> Tensor:
        """Return [B, D] of unit length, float32, of `tokens`."""
        return self._encoded("encode_text", tokens.to(self.device, non_blocking=True))

    def _encoded(self, how: str, given: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            found: Tensor = getattr(self.model, how)(given)
        return F.normalize(found.float(), dim=-1)


def _settings(name: str, module: nn.Module) -> tuple[str, str, dict[str, Any]]:
    """Return a module's place, kind and plain attributes; one that is off says as much as one that is not there."""
    said = {key: one for key, one in vars(module).items() if one and isinstance(one, bool | int | float | str | tuple)}
    plain = {key: str(one) for key, one in sorted(said.items()) if not key.startswith("_") and key != "training"}
    return name, type(module).__name__, plain


class Ensemble:
    """Teachers in their order; what they say of one thing stands side by side, [B, D] with D the sum of theirs.

    Args:
        batch: pictures or texts that a teacher gets at once, at most; chunks of a call are of nearly one size.
    """

    def __init__(self, teachers: Sequence[Teacher], batch: int) -> None:
        self.teachers, self.batch = list(teachers), batch
        self.sizes = list(dict.fromkeys(teacher.size for teacher in self.teachers))
        """In px; teachers of one size share their pictures."""

    @property
    def dims(self) -> list[int]:
        """The width of each teacher's block."""
        return [teacher.dim for teacher in self.teachers]

    def images(self, pixels: Mapping[int, Pixels]) -> Embeddings:
        """Return float32 [B, D] of pictures, which are given in each of `sizes` as uint8 [B, 3, size, size]."""
        return self._each(lambda teacher: (teacher.images, torch.from_numpy(pixels[teacher.size])))

    def texts(self, texts: Sequence[str]) -> Embeddings:
        """Return float32 [B, D] of texts, each teacher being fed its own tokens."""
        tokens: dict[str, Tensor] = {}
        for teacher in self.teachers:
            if teacher.tokens_digest not in tokens:
                tokens[teacher.tokens_digest] = teacher.tokens(texts)
        return self._each(lambda teacher: (teacher.texts, tokens[teacher.tokens_digest]))

    def _each(self, job: "Callable[[Teacher], tuple[Callable[[Tensor], Tensor], Tensor]]") -> Embeddings:
        blocks = []
        for teacher in self.teachers:
            encode, given = job(teacher)
            count = -(-len(given) // self.batch)
            chunks = torch.tensor_split(given, count)
            encoded = map(encode, chunks) if teacher.device.type != "cpu" else _threaded(encode, chunks)
            blocks.append(torch.cat(list(encoded)).cpu().numpy())  # the one wait for a GPU
        return np.concatenate(blocks, axis=1)


def _threaded(encode: Callable[[Tensor], Tensor], chunks: Sequence[Tensor]) -> Iterable[Tensor]:
    """Encode chunks side by side, each on one thread."""
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(min(threads, len(chunks)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(encode, chunks))
    finally:
        torch.set_num_threads(threads)  # a worker's setting is also what threads begun later start with


def open_teacher(options: TeacherOptions, device: torch.device, bfloat16: bool = False) -> Teacher:
    """Load a teacher; `bfloat16`: on CUDA its products are bf16 (autocast), else fp32 as everywhere.

    Raises:
        NotFoundError: there is no such model. UserError: its weights cannot be had here, or it comes without any.
    """
    import open_clip

    try:
        # open_clip draws weights before it loads them: from nobody's random state but ours.
        with torch.random.fork_rng(devices=[]), _quiet(options.random):
            torch.manual_seed(options.seed or 0)
            if options.random and options.name in TINY:
                model, tokenizer = _tiny(options.name)
            else:
                model = open_clip.create_model(options.name, **_weights(options))
                tokenizer = open_clip.get_tokenizer(options.name)
    except (RuntimeError, OSError, ValueError, LookupError, AttributeError, TypeError, *_NO_WEIGHTS) as error:
        _check_name(options)
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"teacher {options.called}: open_clip cannot open it ({shorten(said, _SAID, placeholder=' ...')}); "
            "its weights are downloaded once, from the network, or lie in a folder: name: local-dir:FOLDER"
        ) from None
    return Teacher(options, model, tokenizer, device, bfloat16)


def _check_name(options: TeacherOptions) -> None:
    """Raise NotFoundError for an architecture or a tag that open_clip does not know."""
    import open_clip

    if ":" in options.name:
        return
    if open_clip.get_model_config(options.name) is None:
        hint = near(options.name, [*open_clip.list_models(), *TINY])
        raise NotFoundError(f"teacher {options.called}: open_clip knows no such model.{hint}")
    tag, tags = options.pretrained or "", [*open_clip.list_pretrained_tags_by_model(options.name), RANDOM]
    if tag not in tags and not Path(tag).is_file():
        said = f"no weights are called {tag!r}" if tag else "which weights? say pretrained"
        raise NotFoundError(f"teacher {options.called}: {said}.{near(tag, tags)} Known: {', '.join(tags)}")


@contextmanager
def _quiet(random: bool) -> Iterator[None]:
    """Keep open_clip from warning that weights are random, which was asked for, and from saying errors twice."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR if random else logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _weights(options: TeacherOptions) -> dict[str, Any]:
    if options.random:
        return {"load_weights": False, "pretrained_image": False, "pretrained_text": False}
    return {"pretrained": options.pretrained, "require_pretrained": True}


def _tiny(name: str) -> tuple[nn.Module, Callable[[list[str]], Tensor]]:
    import open_clip
    from open_clip.transform import PreprocessCfg

    cfg = dict(TINY[name])
    model: Any = (open_clip.CustomTextCLIP if cfg.pop("custom_text", False) else open_clip.CLIP)(**cfg)
    size = cfg["vision_cfg"]["image_size"]
    open_clip.set_model_preprocess_cfg(model, asdict(PreprocessCfg(size=size)) | PREPROCESS.get(name, {}))
    tokenizer: Any = open_clip.SimpleTokenizer(context_length=cfg["text_cfg"]["context_length"])
    return model, tokenizer
