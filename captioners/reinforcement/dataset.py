"""Captioned and reinforced shards as a torch dataset, sampled as MobileCLIP2's trainer does.

A sample is a picture in one of its stored augmentations, brought to the student's size, its caption, one synthetic
caption, and the teachers' embeddings of just these. Everything drawn is a function of (seed, epoch, sample): neither
the order nor the number of a loader's processes changes an example. A sample that cannot be used becomes a `Skipped`
with its reason, and training goes on.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms
from torchvision.transforms import functional

from captioners.core.errors import ImageError, NotFoundError, UserError
from captioners.core.seeds import permutation
from captioners.data.inputs import find_inputs, input_root
from captioners.data.texts import BadSampleError
from captioners.images.decode import Picture, read_image
from captioners.reinforcement.augmentation import (
    OPENAI_MEAN,
    OPENAI_STD,
    Augmentation,
    Interpolation,
    Size,
    draw,
    replay,
)
from captioners.reinforcement.embeddings import text_rows
from captioners.reinforcement.index import ShardIndex, Skipped
from captioners.reinforcement.members import IMAGE_EMB
from captioners.reinforcement.sample import Sample, Stored, parse, parse_stored
from captioners.reinforcement.sampling import Choice, Sampling, choose

CONFIG = "config.json"


@dataclass(frozen=True)
class StudentTransform:
    """What of a student's own transform applies to a replayed picture: size, interpolation and normalisation."""

    size: Size = 224
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, ...] = OPENAI_MEAN
    std: tuple[float, ...] = OPENAI_STD

    @classmethod
    def of(cls, preprocess: Any) -> "StudentTransform":
        """Return that of a training transform such as `open_clip.create_model_and_transforms` returns.

        As the trainer does, it is taken from the transform's RandomResizedCrop and Normalize. Raises UserError if it
        lacks one of them.
        """
        steps = {type(step): step for step in getattr(preprocess, "transforms", ())}
        crop, normalize = (steps.get(kind) for kind in (transforms.RandomResizedCrop, transforms.Normalize))
        if crop is None or normalize is None:
            found = ", ".join(kind.__name__ for kind in steps) or type(preprocess).__name__
            raise UserError(f"a student's transform has RandomResizedCrop and Normalize; this has {found}")
        size = tuple(crop.size)
        return cls(size, crop.interpolation.value, tuple(normalize.mean), tuple(normalize.std))

    def __call__(self, picture: Picture, params: list[Any], augmentation: Augmentation) -> Tensor:
        """Return float32 [3, H, W], normalised, of an augmentation replayed. Raises UserError as `replay`."""
        replayed = replay(picture.image, params, augmentation, self.size, self.interpolation)
        tensor: Tensor = functional.normalize(functional.to_tensor(replayed), list(self.mean), list(self.std))
        return tensor


class Example(NamedTuple):
    """One step's view of a sample; embeddings are float32 [D], texts what the tokenizer gives: int64 [T]."""

    key: str
    image: Tensor
    """float32 [3, H, W]."""
    text: Tensor
    image_emb: Tensor | None
    """None without stored embeddings, likewise below."""
    text_emb: Tensor | None
    syn_text: Tensor | None
    """None where the rule of sampling gives one caption a step."""
    syn_text_emb: Tensor | None


class Batch(NamedTuple):
    """Examples below each other (a leading axis B), and the samples that could not be used."""

    keys: list[str]
    image: Tensor | None
    """None in a batch without a usable sample, likewise `text`."""
    text: Tensor | None
    image_emb: Tensor | None
    text_emb: Tensor | None
    syn_text: Tensor | None
    syn_text_emb: Tensor | None
    skipped: list[Skipped]


class ReinforcedDataset(Dataset[Example | Skipped]):
    """The samples of shards, each as an `Example`, or as a `Skipped` with its reason.

    Args:
        inputs: tars, folders of them, or patterns.
        tokenize: as open_clip's tokenizers: a text to int64 [1, T].
        student: of the pictures.
        sampling: which variants are seen.
        embeddings: `stored` replays stored augmentations beside stored embeddings; `none` reads captioned shards, whose
            pictures are augmented anew each epoch, for teachers that are asked while training goes on.
        augmentation: that the shards were made with; None takes it from `config.json` in the inputs' folder.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        tokenize: Callable[[str], Tensor],
        student: StudentTransform,
        sampling: Sampling | None = None,
        *,
        embeddings: Literal["stored", "none"] = "stored",
        augmentation: Augmentation | None = None,
    ) -> None:
        self._index = ShardIndex(find_inputs(inputs, (".tar",), "shards"))
        self._tokenize, self._student = tokenize, student
        self._sampling = Sampling() if sampling is None else sampling
        self._stored = embeddings == "stored"
        if augmentation is None:
            augmentation = stored_augmentation(inputs) if self._stored else Augmentation()
        self._augmentation = augmentation
        self._width = self._width_of(inputs) if self._stored else 0
        # Shared memory: a loader's processes that outlive an epoch see the next one's number.
        self._epoch: Tensor = torch.zeros(1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self._index)

    @property
    def skipped(self) -> list[Skipped]:
        """What of the shards could not even be listed."""
        return list(self._index.skipped)

    def set_epoch(self, epoch: int) -> None:
        """Show other variants from here on, also in a loader's processes."""
        self._epoch[0] = epoch

    def order(self, epoch: int, rank: int = 0, world: int = 1) -> list[int]:
        """Return the numbers of the samples that process `rank` of `world` sees in an epoch, in order.

        Each sees as many; the last few samples of an epoch's order, fewer than `world`, are left out.
        """
        count = len(self) // world * world
        order: list[int] = permutation(len(self), "reinforced order", self._sampling.seed, epoch).tolist()
        return order[rank:count:world]

    def __getitem__(self, number: int) -> Example | Skipped:
        shard, key = self._index.shard_of(number), ""
        try:
            key, members = self._index.read(number)
            sample = parse(key, members, self._sampling)
            stored = parse_stored(key, members) if self._stored else None
            if stored is not None and stored.width != self._width:
                what = f"its embeddings are {stored.width} wide, those of the set {self._width}"
                raise BadSampleError("emb_shape", f"{key}: {what}; reinforce it by the set's teachers")
            return self._example(shard, key, sample, stored)
        except (BadSampleError, ImageError) as error:
            return Skipped(shard, key, error.reason, str(error))

    def _width_of(self, inputs: Sequence[str]) -> int:
        """Return the width of the set's embeddings: as config.json tells, else of the first sample that has any."""
        with suppress(UserError):
            teachers = stored_config(inputs).get("teachers")
            if teachers:
                return sum(one["dim"] for one in teachers)
        for number in range(len(self)):
            with suppress(BadSampleError):
                return parse_stored(*self._index.read(number)).width
        return 0

    def _example(self, shard: str, key: str, sample: Sample, stored: Stored | None) -> Example:
        epoch = int(self._epoch)
        augmentations = len(stored.augmentations) if stored else 0
        choice = choose(self._sampling, epoch, (shard, key), augmentations, sample.syn)
        texts = [self._tokenize(sample.text)[0]]
        if sample.syn:
            texts.append(self._tokenize(sample.syn[choice.syn_key][choice.caption])[0])
        rows = _rows(key, sample, stored, choice) if stored else [None] * len(texts)
        pairs = list(zip(texts, rows, strict=True))
        if self._sampling.mix_synthetic is not None:
            pairs = pairs[1:] if choice.replace else pairs[:1]
        image_emb = torch.from_numpy(stored.arrays[IMAGE_EMB][choice.augmentation]) if stored else None
        picture = read_image(sample.image, "as_trained", name=f"{shard}: {key}")
        if stored:
            params = stored.augmentations[choice.augmentation]
        else:
            seed = self._sampling.seed
            params = draw(self._augmentation, picture.width, picture.height, seed, picture.sha256, epoch)
        try:
            image = self._student(picture, params, self._augmentation)
        except UserError as error:
            raise BadSampleError("paug", f"{key}: {error}") from None
        syn_text, syn_text_emb = pairs[1] if len(pairs) > 1 else (None, None)
        return Example(key, image, pairs[0][0], image_emb, pairs[0][1], syn_text, syn_text_emb)


def _rows(key: str, sample: Sample, stored: Stored, choice: Choice) -> list[Tensor | None]:
    """Return the embedding of the ground truth and, if there is one, that of the chosen synthetic caption."""
    count = len(sample.syn.get(choice.syn_key, ()))
    try:
        truth, synthetic = text_rows(stored.arrays, 1, choice.syn_key or None, count)
    except UserError as error:
        raise BadSampleError("emb_rows", f"{key}: {error}") from None
    return [torch.from_numpy(rows) for rows in (truth[0], *synthetic[choice.caption : choice.caption + 1])]


def stored_augmentation(inputs: Sequence[str]) -> Augmentation:
    """Return what a reinforced set's `config.json`, beside its shards, says of its augmentations.

    Raises UserError if there is none, or none that can be replayed.
    """
    return Augmentation.of(stored_config(inputs)["reinforce"]["image_augmentation"])


def stored_config(inputs: Sequence[str]) -> dict[str, Any]:
    """Return what a reinforced set's `config.json`, beside its shards, says. Raises as `stored_augmentation`."""
    path = input_root(inputs) / CONFIG
    try:
        config: dict[str, Any] = json.loads(path.read_bytes())
        config["reinforce"]["image_augmentation"]
        teachers = config.get("teachers", [])
        if not all(type(one["dim"]) is int for one in teachers):
            raise TypeError
    except (FileNotFoundError, NotFoundError):
        raise UserError(
            f"{path}: not found; it says what the stored augmentations are, or give `augmentation`"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        wanted = "{'reinforce': {'image_augmentation': ...}}, and in its teachers each one's dim"
        raise UserError(f"{path}: is not {wanted} ({type(error).__name__}); write it anew") from None
    return config


def collate(examples: Sequence[Example | Skipped]) -> Batch:
    """Return a batch of the examples and the list of those that could not be used; a DataLoader's `collate_fn`."""
    usable = [one for one in examples if isinstance(one, Example)]
    skipped = [one for one in examples if isinstance(one, Skipped)]
    columns = list(zip(*(one[1:] for one in usable), strict=True)) or [(None,)] * 6
    image, text, image_emb, text_emb, syn_text, syn_text_emb = map(_stacked, columns)
    keys = [one.key for one in usable]
    return Batch(keys, image, text, image_emb, text_emb, syn_text, syn_text_emb, skipped)


def _stacked(tensors: Sequence[Tensor | None]) -> Tensor | None:
    return None if tensors[0] is None else torch.stack([one for one in tensors if one is not None])
