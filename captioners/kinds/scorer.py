"""A frozen scorer: any model of two towers that open_clip opens, for CLIPScore and self-retrieval."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioners.core.errors import NotFoundError, UserError, disk_full
from captioners.kinds.catalogue import Origin, find

if TYPE_CHECKING:
    from torch import Tensor

_BATCH = 32

Numbers = NDArray[np.float64]
T = TypeVar("T")


class FrozenScorer(Protocol):
    """A scorer of `metrics.alignment` for pictures that also says whose image tower it has."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def tower_digest(self) -> str:
        """Of its image tower, as `CaptionerInfo.tower_digest`."""

    def image_features(self, pictures: Iterable[Image.Image]) -> Numbers:
        """Return [B, D]."""

    def text_features(self, texts: Sequence[str]) -> Numbers:
        """Return [B, D]."""


class OpenClipScorer:
    """A model of open_clip, in fp32, in evaluation mode, without gradients."""

    def __init__(self, name: str, model: Any, preprocess: Callable[[Image.Image], "Tensor"], tokenizer: Any) -> None:
        import torch

        from captioners.models.weights import weights_digest

        self.name = name
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model, self._preprocess, self._tokenizer = model.eval().to(self._device), preprocess, tokenizer
        state = model.state_dict()
        self.weights_digest, self.tower_digest = weights_digest(state), weights_digest(state, "visual.")

    def image_features(self, pictures: Iterable[Image.Image]) -> Numbers:
        """Return [B, D] of RGB pictures, which are pulled as they are needed."""
        import torch

        def encode(batch: list[Image.Image]) -> "Tensor":
            pixels = torch.stack([self._preprocess(picture) for picture in batch])
            features: Tensor = self._model.encode_image(pixels.to(self._device))
            return features

        return self._features(pictures, encode)

    def text_features(self, texts: Sequence[str]) -> Numbers:
        """Return [B, D]; a text too long for the model is cut, as its tokenizer does."""

        def encode(batch: list[str]) -> "Tensor":
            features: Tensor = self._model.encode_text(self._tokenizer(batch).to(self._device))
            return features

        return self._features(texts, encode)

    def _features(self, given: Iterable[T], encode: Callable[[list[T]], "Tensor"]) -> Numbers:
        import torch

        with torch.inference_mode():
            found = [encode(batch).cpu().numpy().astype(np.float64) for batch in _batches(given)]
        return np.concatenate(found) if found else np.empty((0, 0))


def open_scorer(name: str) -> OpenClipScorer:
    """Open a scorer: an open_clip MODEL/TAG, MODEL@FILE, `local-dir:DIR`, `hf-hub:ORG/REPO`, or a captioner's name.

    Raises:
        NotFoundError, UserError: it is none of these, cannot be had here, or has no trained weights.
    """
    import open_clip
    import torch

    model_name, weights = _open_clip_names(name)
    try:
        # open_clip draws weights before it loads them: from nobody's random state but ours.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            # The only way in that refuses where nothing was loaded, instead of keeping what was drawn.
            model, preprocess = open_clip.create_model_from_pretrained(model_name, pretrained=weights)
        tokenizer = open_clip.get_tokenizer(model_name)
    except Exception as error:  # a damaged file is whatever its reader makes of it: UnpicklingError, SafetensorError
        if disk_full(error):
            raise
        said = " ".join((str(error).strip().splitlines() or [type(error).__name__])[0].split())
        raise UserError(f"scorer {name}: open_clip cannot open it ({said}); name another, or none") from None
    return OpenClipScorer(name, model, preprocess, tokenizer)


class Judged(Protocol):
    """A captioner whose captions are scored, such as a `CaptionerInfo`."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def tower_digest(self) -> str | None:
        """Of its image tower; None where it has none that could be a scorer's."""


def refuse_own_tower(scorer: FrozenScorer, *captioners: Judged) -> None:
    """Raise UserError if the scorer has the image tower of a judged captioner: it would judge its own cause."""
    for info in captioners:
        if info.tower_digest == scorer.tower_digest:
            raise UserError(
                f"scorer {scorer.name}: has the image tower of {info.name}, which it is to judge; name another scorer, "
                "such as ViT-B-32/openai, or none"
            )


def _open_clip_names(name: str) -> tuple[str, str | None]:
    """Return what open_clip calls the model, and the tag or file of its weights."""
    scheme = name.partition(":")[0]
    if scheme in ("local-dir", "hf-hub"):
        return name, None
    try:
        origin = find(name).origin
    except NotFoundError:
        # A file's path has slashes, too.
        for sign in "@/":
            model, found, rest = name.partition(sign)
            if found and rest:
                return model, _weights_file(name, rest) if sign == "@" else rest
        raise
    return _of_origin(name, origin)


def _weights_file(name: str, given: str) -> str:
    """Return a weights file's path as nothing but a path: a bare name would be looked for among the tags first."""
    file = Path(given).expanduser().absolute()
    if not file.is_file():
        raise NotFoundError(f"scorer {name}: there is no file {given}; check the path of MODEL@FILE")
    return str(file)


def _of_origin(name: str, origin: Origin) -> tuple[str, str | None]:
    if origin.kind == "random":
        raise UserError(f"scorer {name}: has random weights, so its scores say nothing; name a trained one, or none")
    if origin.kind == "directory":
        return f"local-dir:{origin.where}", None
    if origin.kind == "hub":
        return f"hf-hub:{origin.where}", None
    if origin.kind == "file":
        return origin.model, _weights_file(name, origin.where)
    return origin.model, origin.tag


def _batches(given: Iterable[T]) -> Iterator[list[T]]:
    pulled = iter(given)
    while batch := list(islice(pulled, _BATCH)):
        yield batch
