"""Tasks on any pictures: zero-shot classification by names, and retrieval by captions as on Flickr30k and MSCOCO."""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioners.core.errors import ImageError, UserError
from captioners.data.source import Sample, all_samples
from captioners.images.decode import read_image
from captioners.images.preprocess import Preprocess
from captioners.jobs.probe.student import Student
from captioners.jobs.recipes.probe import Retrieval, ZeroShot

_NEAR = 5
"""Recall and accuracy are also measured among so many."""


class ZeroShotJudge:
    """Classifies pictures by the nearest of their classes' texts."""

    def __init__(self, options: ZeroShot, preprocess: Preprocess, folder: Path) -> None:
        self._options = options
        pixels, labels = _kept(options, preprocess, folder, self._class_of)
        self._pixels, self._labels = pixels, torch.tensor(labels)

    @property
    def headline(self) -> Sequence[str]:
        """The tasks that go into the average."""
        return (self._options.name,)

    @property
    def chance(self) -> dict[str, float]:
        """What each task comes to without looking, if the classes are of one size."""
        return {self._options.name: 1 / len(self._options.classes)}

    def __call__(self, student: Student) -> dict[str, float]:
        """Return the share of pictures whose class is the first, and one of the first five."""
        student.model.eval()
        with torch.inference_mode():
            classifier = open_clip.build_zero_shot_classifier(
                student.model,
                student.tokenize,
                self._options.classes,
                self._options.templates,
                device=student.device,
            ).cpu()
        best = (
            (student.embedded_images(self._pixels) @ classifier.float()).topk(min(_NEAR, classifier.shape[1])).indices
        )
        right = best == self._labels[:, None]
        name = self._options.name
        return {name: _share(right[:, 0]), f"{name}@{_NEAR}": _share(right.any(1))}

    def _class_of(self, sample: Sample) -> int:
        options = self._options
        said: Any = sample.captions[0] if options.label is None and sample.captions else None
        if options.label is not None:
            said = sample.meta
            for part in options.label.split("."):
                said = said.get(part) if isinstance(said, dict) else None
        if isinstance(said, int) and 0 <= said < len(options.classes):
            return said
        if said in options.classes:
            return options.classes.index(said)
        where = "its first caption" if options.label is None else f"its field {options.label}"
        raise UserError(f"evaluation {options.name}: {sample.name}: {where} is {said!r}, none of the classes")


class RetrievalJudge:
    """Retrieves pictures by captions and captions by pictures."""

    def __init__(self, options: Retrieval, preprocess: Preprocess, folder: Path) -> None:
        self._options = options
        self._pixels, self._captions = _kept(options, preprocess, folder, self._captions_of)
        owners = [[at] * len(texts) for at, texts in enumerate(self._captions)]
        self._owner = torch.tensor([at for own in owners for at in own])

    @property
    def headline(self) -> Sequence[str]:
        """The tasks that go into the average."""
        return (f"{self._options.name}/image_to_text", f"{self._options.name}/text_to_image")

    @property
    def chance(self) -> dict[str, float]:
        """What each task comes to without looking, where all captions differ."""
        return dict.fromkeys(self.headline, 1 / len(self._captions) if self._captions else nan)

    def __call__(self, student: Student) -> dict[str, float]:
        """Return recall@1 and @5, both ways."""
        texts = student.embedded_texts([text for own in self._captions for text in own])
        similarity = texts @ student.embedded_images(self._pixels).T
        best_images = similarity.topk(min(_NEAR, similarity.shape[1])).indices
        best_texts = similarity.T.topk(min(_NEAR, similarity.shape[0])).indices
        to_image = best_images == self._owner[:, None]
        to_text = self._owner[best_texts] == torch.arange(len(best_texts))[:, None]
        found: dict[str, float] = {}
        for name, right in zip(self.headline, (to_text, to_image), strict=True):
            found |= {name: _share(right[:, 0]), f"{name}@{_NEAR}": _share(right.any(1))}
        return found

    def _captions_of(self, sample: Sample) -> list[str]:
        if not sample.captions:
            raise UserError(f"evaluation {self._options.name}: {sample.name} has no caption; retrieval is by captions")
        return list(sample.captions[: self._options.captions])


def _kept(options: ZeroShot | Retrieval, preprocess: Preprocess, folder: Path, said: Any) -> tuple[Tensor, list[Any]]:
    """Return uint8 [B, 3, H, W] of a source's pictures, decoded once, and what each is judged by.

    What cannot be read is left out.
    """
    about = json.dumps([options.model_dump(mode="json"), states(options), preprocess.digest], sort_keys=True)
    file = folder / f"task-{sha256(about.encode()).hexdigest()[:12]}.npz"
    if not file.is_file():
        pixels, wanted = [], []
        for sample in islice(_readable(options), options.images):
            try:
                picture = preprocess.pixels(read_image(sample.image, "upright", name=sample.name).image)
            except ImageError:
                continue
            pixels.append(picture)
            wanted.append(said(sample))
        if not pixels:
            raise UserError(f"evaluation {options.name}: its source has no readable picture")
        part = file.with_suffix(".part.npz")
        np.savez(part, pixels=np.stack(pixels), wanted=_text(wanted))
        part.replace(file)
    with np.load(file) as found:
        return torch.from_numpy(found["pixels"]), json.loads(found["wanted"].tobytes())


def states(options: ZeroShot | Retrieval) -> list[tuple[str, int, str]]:
    """Return path, bytes and stamp of each shard of a task's source."""
    return [(one.path, one.size, one.stamp) for one in options.source.open().shards()]


def _readable(options: ZeroShot | Retrieval) -> Iterator[Sample]:
    return (one for one in all_samples(options.source.open()) if isinstance(one, Sample))


def _text(value: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _share(right: Tensor) -> float:
    return float(right.double().mean())
