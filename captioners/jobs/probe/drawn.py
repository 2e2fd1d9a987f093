"""Tasks of the drawn world: what a student sees in scenes that no training set has, with relevance known exactly.

zero_shot: the colour and shape of a scene's one thing, of 48. count: how many things, of four numbers, each number
weighing as much. relation: how two things stand to each other, against the opposite. binding: which of two things has
which colour, against the swap. image_to_text, text_to_image: recall@1 in a pool, in five manners that weigh alike;
every caption that is true of a picture counts as right (short ones are true of many).
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from captioners.core.errors import UserError
from captioners.data.drawn_check import check
from captioners.data.drawn_render import render
from captioners.data.drawn_scene import COLOURS, SHAPES, Draws, Scene, Thing, related, scene
from captioners.data.drawn_voices import VOICES, captions
from captioners.data.drawn_words import RELATION_WORDS, number_of, words_for
from captioners.images.preprocess import Preprocess
from captioners.jobs.probe.student import Student
from captioners.jobs.recipes.probe import Drawn

CLASSES = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
TEMPLATES = ("a {}", "a picture of a {}", "there is a {}", "the picture shows a {}", "one {}")
_COUNTS = ("{}", "there are {}", "a picture of {}")
MANNERS = tuple(name for name in VOICES if name != "alt_text")
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_NEAR = 5
"""Recall is also measured among so many."""
_OTHERS = 4
"""Pictures that a caption is checked against to estimate chance."""

Pair = tuple[int, str, str]
"""A scene's number, what is true of it, and what is false."""


class DrawnJudge:
    """Judges students on scenes of the split `eval`."""

    def __init__(self, options: Drawn, preprocess: Preprocess, folder: Path) -> None:
        every = (scene(options.seed, "eval", index) for index in count())
        single = list(islice((one for one in every if len(one.things) == 1), options.scenes))
        self.scenes = [scene(options.seed, "eval", index) for index in range(max(options.scenes, options.pool))]
        self.content = frozenset(one.content_key for one in (*single, *self.scenes))
        self.headline = options.average
        self._pool = self.scenes[: options.pool]
        self._asked = self.scenes[: options.scenes]
        self._classes = torch.tensor([CLASSES.index(f"{one.things[0].colour} {one.things[0].shape}") for one in single])
        self._numbers = torch.tensor([len(one.things) - 1 for one in self._asked])
        self._relations, self._bindings = _pairs(self._asked, _relation), _pairs(self._asked, _binding)
        self._pairs_of = {"relation": self._relations, "binding": self._bindings}
        for task in self.headline:
            if not self._pairs_of.get(task, True):
                raise UserError(f"evaluation drawn: average: none of {options.scenes} scenes has a pair for {task}")
        self._told = {voice: [captions(one, voice, 1, options.seed)[0] for one in self._pool] for voice in MANNERS}
        name = sha256(f"{options.seed} {options.scenes} {options.pool} {preprocess.digest}".encode()).hexdigest()[:12]
        pixels = _pixels([*single, *self.scenes], preprocess, folder / f"drawn-{name}.npy")
        self._single, self._pixels = pixels[: len(single)], pixels[len(single) :]
        self._relevant: dict[tuple[str, int], bool] = {}

    @property
    def chance(self) -> dict[str, float]:
        """What each task comes to without looking; that of retrieval is estimated on a few pictures a caption."""
        size = len(self._pool)
        true = [
            self._true(text, (at + k * max(1, size // (_OTHERS + 1))) % size)
            for told in self._told.values()
            for at, text in enumerate(told)
            for k in range(1, _OTHERS + 1)
        ]
        found = (1 + (size - 1) * float(np.mean(true))) / size
        return {
            "zero_shot": 1 / len(CLASSES), "count": 1 / 4, "relation": 1 / 2, "binding": 1 / 2,
            "image_to_text": found, "text_to_image": found,
        }  # fmt: skip

    def __call__(self, student: Student) -> dict[str, float]:
        """Return the student's number for each task."""
        images = student.embedded_images(self._pixels)
        single = student.embedded_images(self._single)
        asked = images[: len(self._asked)]
        return {
            "zero_shot": _accuracy(single @ _classifier(student, CLASSES, TEMPLATES).T, self._classes),
            "count": self._count(student, asked),
            # A handful of scenes may have no pair; then there is no such task.
            **{name: _chosen(student, asked, pairs) for name, pairs in self._pairs_of.items() if pairs},
            **self._retrieval(student, images[: len(self._pool)]),
        }

    def _count(self, student: Student, images: Tensor) -> float:
        classifier = _classifier(student, [number_of(number, "shape") for number in range(1, 5)], _COUNTS)
        right = (images @ classifier.T).argmax(1) == self._numbers
        return float(
            np.mean([float(right[self._numbers == one].double().mean()) for one in torch.unique(self._numbers)])
        )

    def _retrieval(self, student: Student, images: Tensor) -> dict[str, float]:
        recall: dict[str, list[float]] = {}
        by_manner = {}
        for voice, told in self._told.items():
            similarity = student.embedded_texts(told) @ images.T
            best_images, best_texts = (
                side.topk(min(_NEAR, len(told)), dim=1).indices.tolist() for side in (similarity, similarity.T)
            )
            to_image = [[self._true(text, at) for at in best] for text, best in zip(told, best_images, strict=True)]
            to_text = [[self._true(told[at], place) for at in best] for place, best in enumerate(best_texts)]
            for name, hits in (("image_to_text", to_text), ("text_to_image", to_image)):
                recall.setdefault(name, []).append(float(np.mean([hit[0] for hit in hits])))
                recall.setdefault(f"{name}@{_NEAR}", []).append(float(np.mean([any(hit) for hit in hits])))
            by_manner[f"retrieval/{voice}"] = (recall["image_to_text"][-1] + recall["text_to_image"][-1]) / 2
        return {**{name: float(np.mean(values)) for name, values in recall.items()}, **by_manner}

    def _true(self, text: str, at: int) -> bool:
        """Whether a caption is true of a scene of the pool; asked anew for every student, so remembered."""
        if (text, at) not in self._relevant:
            self._relevant[text, at] = check(text, self._pool[at]).verdict == "true"
        return self._relevant[text, at]


def _pixels(scenes: Sequence[Scene], preprocess: Preprocess, file: Path) -> Tensor:
    """Return uint8 [B, 3, H, W] of the scenes, drawn once."""
    if not file.is_file():
        drawn = np.stack([preprocess.pixels(render(one)) for one in scenes])
        part = file.with_suffix(".part.npy")
        np.save(part, drawn)
        part.replace(file)
    return torch.from_numpy(np.load(file))


def _classifier(student: Student, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Return [classes, E]: the mean of each class's texts, of unit length."""
    texts = student.embedded_texts([template.format(name) for name in names for template in templates])
    means = texts.reshape(len(names), len(templates), -1).mean(1)
    return torch.nn.functional.normalize(means, dim=1)


def _accuracy(logits: Tensor, wanted: Tensor) -> float:
    return float((logits.argmax(1) == wanted).double().mean())


def _chosen(student: Student, images: Tensor, pairs: Sequence[Pair]) -> float:
    """Return how often what is true is nearer to its picture than what is false; a tie is half right."""
    places = torch.tensor([place for place, _, _ in pairs])
    texts = [true for _, true, _ in pairs], [false for _, _, false in pairs]
    true, false = ((images[places] * student.embedded_texts(side)).sum(1) for side in texts)
    return float(((true > false).double() + (true == false).double() / 2).mean())


def _pairs(scenes: Sequence[Scene], make: Callable[[Thing, Thing, Draws], tuple[str, str] | None]) -> list[Pair]:
    """Return a pair for each scene that has two things to make one of; the checker has the last word."""
    found = []
    for place, one in enumerate(scenes):
        draws = Draws(f"{one.name}/{make.__name__}")
        things = draws.shuffled(one.things)
        for first, second in ((a, b) for a in things for b in things if a is not b):
            said = make(first, second, draws)
            if said and [check(text, one).verdict for text in said] == ["true", "false"]:
                found.append((place, *said))
                break
    return found


def _relation(one: Thing, other: Thing, draws: Draws) -> tuple[str, str] | None:
    holds = [relation for relation in _OPPOSITE if related(one, relation, other)]
    names = words_for(one, ("colour",)), words_for(other, ("colour",))
    if not holds or names[0] == names[1]:
        return None
    relation = draws.pick(holds)
    true, false = (RELATION_WORDS[said][0] for said in (relation, _OPPOSITE[relation]))
    return f"a {names[0]} is {true} a {names[1]}", f"a {names[0]} is {false} a {names[1]}"


def _binding(one: Thing, other: Thing, _draws: Draws) -> tuple[str, str] | None:
    if one.colour == other.colour or one.shape == other.shape:
        return None
    return (
        f"a {one.colour} {one.shape} and a {other.colour} {other.shape}",
        f"a {other.colour} {one.shape} and a {one.colour} {other.shape}",
    )
