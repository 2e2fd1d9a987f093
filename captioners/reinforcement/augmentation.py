"""Draw, store and replay the augmentations that teachers see: RandomResizedCrop, then RandAugment (arXiv 1909.13719).

A draw is the JSON value that MobileCLIP's reinforced shards keep as an element of `param_aug`: the box in pixels of the
stored picture, and each operation's index and magnitude, `[[top, left, height, width], [[op, magnitude], ...]]`; null
where RandAugment was left out. Replayed, it gives the pixels that the teachers were given, bit for bit, and bit for bit
those of torchvision on Pillow pictures. Torch-free, so that processes that only augment start quickly.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from captioners.core.errors import UserError, near
from captioners.core.seeds import uniforms
from captioners.images.augment import crop_box

Interpolation = Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]
Size = int | tuple[int, int]
"""Pixels of a square's side, or (height, width)."""

OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of each channel, of 1: what CLIP's pictures are normalised by (arXiv 2103.00020)."""

_CROP_UNIFORMS = 40  # 10 tries of 4, as `crop_box` takes them
_ALWAYS = ("to_rgb", "to_tensor")  # steps of the reference's configuration that draw nothing


@dataclass(frozen=True)
class Augmentation:
    """What is drawn from; the defaults are those of all published reinforced sets."""

    size: Size = 224
    scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest area of the box, of the picture's."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of the box."""
    interpolation: Interpolation = "bicubic"
    """Of the resize; RandAugment's operations take the nearest pixel, as torchvision's do."""
    num_ops: int = 2
    """Operations one after another; 0: the crop alone."""
    magnitude: int = 9
    """Which of `num_bins` strengths; 0 is the weakest."""
    num_bins: int = 31
    p: float = 1.0
    """Share of draws that get operations at all."""

    def __post_init__(self) -> None:
        known, bins = get_args(Interpolation), self.num_bins
        rules = (
            (min(_sides(self.size)) >= 1, f"size {self.size} is not pixels, or (height, width)"),
            (
                0 < self.scale[0] <= self.scale[1] <= 1,
                f"scale {self.scale} is not (smallest, largest) of 0 < area <= 1",
            ),
            (0 < self.ratio[0] <= self.ratio[1], f"ratio {self.ratio} is not (smallest, largest) above 0"),
            (self.interpolation in known, f"interpolation {self.interpolation!r} is none of {', '.join(known)}"),
            (self.num_ops >= 0, f"num_ops {self.num_ops} is below 0"),
            (bins >= 2 and 0 <= self.magnitude < bins, f"magnitude {self.magnitude} is not one of {bins} bins, from 0"),
            (0 <= self.p <= 1, f"p {self.p} is no share (0 to 1)"),
        )
        for holds, otherwise in rules:
            if not holds:
                raise UserError(f"image_augmentation: {otherwise}")

    @classmethod
    def of(cls, config: Mapping[str, Mapping[str, Any]]) -> "Augmentation":
        """Return what a reinforced set's `image_augmentation` (of its `config.json`) says; torchvision's defaults hold.

        Raises UserError for steps or fields that are not these two draws: their parameters cannot be replayed here.
        """
        if not isinstance(config, Mapping) or not all(isinstance(options, Mapping) for options in config.values()):
            raise UserError("image_augmentation: it is not {step: {option: value}}, such as {to_rgb: {enable: true}}")
        said = {step: dict(options) for step, options in config.items() if options.get("enable", True)}
        for step in said:
            if step not in ("random_resized_crop", "rand_augment", "normalize", *_ALWAYS):
                raise UserError(
                    f"image_augmentation: {step!r} is not known here; it can have random_resized_crop, rand_augment, "
                    f"normalize, {', '.join(_ALWAYS)}"
                )
        if "random_resized_crop" not in said or "size" not in said["random_resized_crop"]:
            raise UserError("image_augmentation: random_resized_crop with its size is missing; add it")
        crop, operations = said["random_resized_crop"], said.get("rand_augment", {"num_ops": 0})
        if "num_magnitude_bins" in operations:
            operations["num_bins"] = operations.pop("num_magnitude_bins")
        options = {"interpolation": "bilinear", **crop, **operations}
        options.pop("enable", None)
        known = [field.name for field in fields(cls)]
        for name, value in options.items():
            if name not in known:
                raise UserError(f"image_augmentation: no option is named {name!r}.{near(name, known)}")
            options[name] = tuple(value) if isinstance(value, list) else value
            if not any(_is(options[name], kind) for kind in _KINDS[name]):
                raise UserError(f"image_augmentation: {name} {value!r} is not {' or '.join(_KINDS[name])}")
        return cls(**options)


_KINDS = {
    "size": ("a whole number", "a pair of them"),
    **dict.fromkeys(("scale", "ratio"), ("a pair of numbers",)),
    **dict.fromkeys(("num_ops", "magnitude", "num_bins"), ("a whole number",)),
    "p": ("a number",),
    "interpolation": ("a text",),
}
"""Option -> what its value is in a configuration."""


def _is(value: Any, kind: str) -> bool:
    if kind.startswith("a pair"):
        single = "a number" if kind.endswith("numbers") else "a whole number"
        return isinstance(value, tuple) and len(value) == 2 and all(_is(one, single) for one in value)
    return type(value) in {"a text": (str,), "a whole number": (int,), "a number": (int, float)}[kind]


def as_config(
    augmentation: Augmentation, mean: tuple[float, ...] = OPENAI_MEAN, std: tuple[float, ...] = OPENAI_STD
) -> dict[str, dict[str, Any]]:
    """Return the JSON-able `image_augmentation` that MobileCLIP's trainer reads; `mean` and `std` are the teachers'.

    The trainer insists on `normalize`, and puts its student's there.
    """
    one = augmentation
    size = one.size if isinstance(one.size, int) else list(one.size)
    crop = {"size": size, "scale": list(one.scale), "ratio": list(one.ratio), "interpolation": one.interpolation}
    config: dict[str, dict[str, Any]] = {
        "normalize": {"mean": list(mean), "std": list(std)},
        "random_resized_crop": crop,
        **{step: {"enable": True} for step in _ALWAYS},
    }
    if one.num_ops:
        bins = {"num_ops": one.num_ops, "magnitude": one.magnitude, "num_magnitude_bins": one.num_bins}
        config["rand_augment"] = {"enable": True, "p": one.p, **bins}
    return dict(sorted(config.items()))


def draw(augmentation: Augmentation, width: int, height: int, seed: int, image_sha256: str, k: int) -> list[Any]:
    """Return the k-th draw for a picture of `width` x `height` px, as an element of `param_aug`.

    It depends on nothing but these: not on other pictures, the order, or how many draws are made.
    """
    one = augmentation
    drawn = uniforms(_CROP_UNIFORMS + 1 + 2 * one.num_ops, "augmentation", seed, image_sha256, k).tolist()
    left, top, wide, tall = crop_box(width, height, one.scale, one.ratio, drawn[:_CROP_UNIFORMS])
    left_out, *chosen = drawn[_CROP_UNIFORMS:]
    box = [top, left, tall, wide]
    if not one.num_ops:
        return [box]
    if left_out >= one.p:
        return [box, None]
    operations = []
    for which, sign in zip(chosen[::2], chosen[1::2], strict=True):
        index = int(which * len(OPERATIONS))
        magnitude, signed = magnitude_of(OPERATIONS[index], one)
        operations.append([index, -magnitude if signed and sign < 0.5 else magnitude])
    return [box, operations]


def replay(
    image: Image.Image,
    params: list[Any],
    augmentation: Augmentation,
    size: Size | None = None,
    interpolation: Interpolation | None = None,
) -> Image.Image:
    """Return the augmented view of an RGB picture, by a student's `size` and `interpolation` where they are given.

    A student of another size sees the same box. Raises UserError for parameters that are no draw of this picture.
    """
    box, operations = _checked(params, image, augmentation)
    top, left, tall, wide = box
    height, width = _sides(augmentation.size if size is None else size)
    view = image.crop((left, top, left + wide, top + tall))
    view = view.resize((width, height), Image.Resampling[(interpolation or augmentation.interpolation).upper()])
    for index, magnitude in operations:
        view = _APPLY[OPERATIONS[index]](view, magnitude)
    return view


def magnitude_of(operation: str, augmentation: Augmentation) -> tuple[float, bool]:
    """Return an operation's magnitude, and whether its sign is drawn: torchvision's float32 values, bit for bit."""
    height, width = _sides(augmentation.size)
    last, at = augmentation.num_bins - 1, augmentation.magnitude
    if operation == "Posterize":  # bits that are kept; halves round to even, as torch's do
        return float(8 - round(at / (last / 4))), False
    if operation == "Solarize":
        return _linspace(255.0, 0.0, last, at), False
    largest = {
        **dict.fromkeys(("ShearX", "ShearY"), 0.3),
        "TranslateX": 150 / 331 * width,
        "TranslateY": 150 / 331 * height,
        "Rotate": 30.0,
        **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), 0.9),
    }
    return (_linspace(0.0, largest[operation], last, at), True) if operation in largest else (0.0, False)


def _linspace(start: float, end: float, last: int, at: int) -> float:
    """Return `torch.linspace(start, end, last + 1)[at]`: from either end, with one rounding to float32 a value."""
    first, final = np.float32(start), np.float32(end)
    step = float((final - first) / np.float32(last))
    return float(np.float32(float(first) + at * step if at < (last + 1) // 2 else float(final) - (last - at) * step))


def _sides(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _checked(
    params: Any, image: Image.Image, augmentation: Augmentation
) -> tuple[tuple[int, int, int, int], list[tuple[int, float]]]:
    shape = f"[[top, left, height, width], {augmentation.num_ops} x [operation, magnitude] or null]"
    box, *rest = params if isinstance(params, list) and params else (None,)
    if not (isinstance(box, list) and len(box) == 4 and all(type(edge) is int for edge in box)):
        raise UserError(f"param_aug: {params!r} is not {shape}")
    top, left, tall, wide = box
    if min(top, left) < 0 or min(tall, wide) < 1 or top + tall > image.height or left + wide > image.width:
        found = f"the box {box} leaves the picture of {image.width} x {image.height} px"
        raise UserError(f"param_aug: {found}; it was drawn for another one: bring back the picture as it was")
    operations = (rest[0] or []) if rest else []
    count = augmentation.num_ops if rest and rest[0] is not None else 0
    if len(rest) > 1 or not isinstance(operations, list) or len(operations) != count:
        raise UserError(f"param_aug: {params!r} is not {shape}")
    for operation in operations:
        if not (isinstance(operation, list) and len(operation) == 2 and _applies(*operation)):
            raise UserError(f"param_aug: {operation!r} is no [operation of 0 to {len(OPERATIONS) - 1}, magnitude]")
    return (top, left, tall, wide), [(index, magnitude) for index, magnitude in operations]


def _applies(index: Any, magnitude: Any) -> bool:
    if type(index) is not int or not 0 <= index < len(OPERATIONS) or type(magnitude) not in (int, float):
        return False
    lowest, highest = (1, 8) if OPERATIONS[index] == "Posterize" else (-1e6, 1e6)
    return bool(lowest <= magnitude <= highest)  # NaN is not


# torchvision rewrites a shear as an angle and takes its tangent or sine anew: the way there decides the last bit, and
# the last bit decides which pixel is the nearest.
def _shear_x(image: Image.Image, magnitude: float) -> Image.Image:
    return _moved(image, 1.0, math.tan(_angle(magnitude)), 0.0, 0.0, 1.0, 0.0)


def _shear_y(image: Image.Image, magnitude: float) -> Image.Image:
    return _moved(image, 1.0, 0.0, 0.0, math.sin(_angle(magnitude)) / math.cos(_angle(magnitude)), 1.0, 0.0)


def _angle(magnitude: float) -> float:
    return math.radians(math.degrees(math.atan(magnitude)))


def _moved(image: Image.Image, *matrix: float) -> Image.Image:
    """Return the picture whose pixel (x, y) is the one at the matrix's (a x + b y + c, d x + e y + f), or black."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=(0, 0, 0))


_APPLY: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "Identity": lambda image, _: image,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateX": lambda image, by: _moved(image, 1.0, 0.0, -float(int(by)), 0.0, 1.0, 0.0),
    "TranslateY": lambda image, by: _moved(image, 1.0, 0.0, 0.0, 0.0, 1.0, -float(int(by))),
    "Rotate": lambda image, by: image.rotate(by, Image.Resampling.NEAREST, fillcolor=(0, 0, 0)),
    "Brightness": lambda image, by: ImageEnhance.Brightness(image).enhance(1 + by),
    "Color": lambda image, by: ImageEnhance.Color(image).enhance(1 + by),
    "Contrast": lambda image, by: ImageEnhance.Contrast(image).enhance(1 + by),
    "Sharpness": lambda image, by: ImageEnhance.Sharpness(image).enhance(1 + by),
    "Posterize": lambda image, bits: ImageOps.posterize(image, int(bits)),
    "Solarize": lambda image, threshold: ImageOps.solarize(image, cast(int, threshold)),
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
}
OPERATIONS = tuple(_APPLY)
"""RandAugment's operations; `param_aug` names one by its place here."""
