"""What a frozen image tower says of every image of a set, computed once and kept on disk.

features/
    about.json      what the features are of: the tower, the set, shape and number format
    tokens.bin      [images, N, D]
    pooled.bin      [images, E]; only for a contrastive loss

Only for images that are always seen alike: no augmentation. On several processes each computes its share; all read the
same files, so the folder is one they share.
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from captioners.core.errors import UserError
from captioners.models.coca_training import ImageFeatures, encode_images
from captioners.training.ranks import Ranks

Kept = Literal["float16", "float32", "float64"]
_AT_ONCE = 16
_SPARE = 1 << 30
"""Bytes that must stay free on the disk."""


@dataclass(frozen=True)
class Shapes:
    """How large the features of one image are."""

    tokens: tuple[int, int]
    """(N, D)."""
    pooled: int | None
    """E; None when no contrastive loss asks for it."""

    @staticmethod
    def of(model: nn.Module, *, contrastive: bool) -> "Shapes":
        """Ask a model, by one black image."""
        with torch.no_grad():
            found = encode_images(model, _black(model))
        assert found.pooled is not None
        return Shapes((found.tokens.shape[1], found.tokens.shape[2]), found.pooled.shape[1] if contrastive else None)

    def num_bytes(self, images: int, kept: Kept) -> int:
        """Return the bytes on disk of so many images' features.

        >>> Shapes((255, 768), None).num_bytes(50_000, "float16")
        19584000000
        """
        return images * (math.prod(self.tokens) + (self.pooled or 0)) * np.dtype(kept).itemsize


class CachedFeatures:
    """Features of a whole set, read from disk by the images' numbers."""

    def __init__(self, folder: Path, images: int, shapes: Shapes, kept: Kept, dtype: torch.dtype, mode: str) -> None:
        self._dtype = dtype
        self.tokens = _open(folder / "tokens.bin", (images, *shapes.tokens), kept, mode)
        self.pooled = _open(folder / "pooled.bin", (images, shapes.pooled), kept, mode) if shapes.pooled else None

    def __len__(self) -> int:
        """Return the images of the set."""
        return len(self.tokens)

    def __getitem__(self, images: Tensor) -> ImageFeatures:
        """Return the features of images [B], on the CPU, in the model's precision."""
        rows = images.numpy()
        pooled = None if self.pooled is None else torch.from_numpy(self.pooled[rows]).to(self._dtype)
        return ImageFeatures(torch.from_numpy(self.tokens[rows]).to(self._dtype), pooled)

    def put(self, start: int, end: int, found: ImageFeatures) -> None:
        """Store the features of images `start` to `end`.

        Raises:
            UserError: a number is too large for the format, or is none.
        """
        self._store(self.tokens, start, end, found.tokens)
        if self.pooled is not None and found.pooled is not None:
            self._store(self.pooled, start, end, found.pooled)

    def _store(self, file: "np.memmap[Any, np.dtype[Any]]", start: int, end: int, found: Tensor) -> None:
        numbers = found.to("cpu", self._dtype).numpy()
        if np.abs(numbers).max(initial=0.0) <= np.finfo(file.dtype).max:
            file[start:end] = numbers
            return
        raise UserError(
            f"the image tower's features of images {start:,} to {end - 1:,} do not fit into {file.dtype.name} (or are "
            "no numbers): say precision=fp32"
        )

    def flush(self) -> None:
        """Send what was put on its way to the disk."""
        for file in (self.tokens, self.pooled):
            if file is not None:
                file.flush()


def cached_features(  # noqa: PLR0913  # nine values, each of its own kind
    model: nn.Module,
    normalised: Callable[[Tensor], Tensor],
    pixels_of: Callable[[int, int], Tensor],
    count: int,
    folder: str | Path,
    *,
    ranks: Ranks,
    facts: Mapping[str, Any],
    contrastive: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> CachedFeatures:
    """Return the features of `count` images, computing them unless the folder holds them.

    They are kept in fp16 where the tower computes in bf16 (which has fewer digits), else in the model's own format.

    Args:
        model: open_clip's CoCa on its device; its image tower is run as it is.
        normalised: from uint8 [B, 3, H, W] to what the model sees.
        pixels_of: from the first and past the last number of some images to their pixels, uint8 [B, 3, H, W].
        count: images of the set.
        folder: `features/` of the run.
        ranks: the processes, and with them device and precision.
        facts: JSON-able; what the features depend on (the weights' digest, the data's). Others are computed anew.
        contrastive: whether the pooled image is kept, too.
        say: told the size before anything is computed.

    Raises:
        UserError: the disk has too little space for them.
    """
    folder, accelerator = Path(folder), ranks.accelerator
    dtype = next(model.parameters()).dtype
    own: Kept = "float64" if dtype == torch.float64 else "float32"
    kept: Kept = "float16" if accelerator.mixed_precision == "bf16" else own
    model.eval()
    with accelerator.autocast():
        shapes = Shapes.of(model, contrastive=contrastive)
    about = {
        "images": count,
        "tokens": list(shapes.tokens),
        "pooled": shapes.pooled,
        "kept": kept,
        "facts": dict(facts),
    }
    size = shapes.num_bytes(count, kept)
    draft = folder.with_name(f".{folder.name}.partial")
    if not ranks.on_main(lambda: _begin(folder, draft, about, size, count, say)):
        files = CachedFeatures(draft, count, shapes, kept, dtype, "r+")
        _fill(files, model, lambda start, end: normalised(pixels_of(start, end).to(accelerator.device)), ranks)
        ranks.told("done")
        ranks.on_main(lambda: _finish(folder, draft))
    model.train()
    return CachedFeatures(folder, count, shapes, kept, dtype, "r")


def _fill(files: CachedFeatures, model: nn.Module, seen: Callable[[int, int], Tensor], ranks: Ranks) -> None:
    """Compute this process's share of the features."""
    share = -(-len(files) // ranks.world)
    past = min((ranks.rank + 1) * share, len(files))
    with torch.no_grad(), ranks.accelerator.autocast():
        for start in range(ranks.rank * share, past, _AT_ONCE):
            end = min(start + _AT_ONCE, past)
            found = encode_images(model, seen(start, end))
            files.put(start, end, found)
    files.flush()


def _begin(
    folder: Path, draft: Path, about: Mapping[str, Any], size: int, count: int, say: Callable[[str], None]
) -> bool:
    """Return whether the features are there; if not, make room for them."""
    try:
        if json.loads((folder / "about.json").read_text(encoding="utf-8")) == about:
            return True
    except (OSError, ValueError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    free = shutil.disk_usage(draft).free
    if free < size + _SPARE:
        draft.rmdir()
        raise UserError(
            f"{folder}: the image features of {count:,} images need {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
            "free on that disk; free some space, name an output elsewhere, or train on fewer images"
        )
    say(f"image features of {count:,} images: {size / 1e9:.2f} GB in {folder}, computed once")
    tokens = (count, *about["tokens"])
    _open(draft / "tokens.bin", tokens, about["kept"], "w+").flush()
    if about["pooled"]:
        _open(draft / "pooled.bin", (count, about["pooled"]), about["kept"], "w+").flush()
    (draft / "about.json").write_text(json.dumps(about), encoding="utf-8")
    return False


def _finish(folder: Path, draft: Path) -> None:
    draft.rename(folder)


def _open(path: Path, shape: tuple[int, ...], kept: Kept, mode: Any) -> "np.memmap[Any, np.dtype[Any]]":
    return np.memmap(path, dtype=kept, mode=mode, shape=shape)


def _black(model: nn.Module) -> Tensor:
    visual: Any = model.get_submodule("visual")
    size = visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    parameter = next(model.parameters())
    return torch.zeros(1, 3, int(height), int(width), dtype=parameter.dtype, device=parameter.device)
