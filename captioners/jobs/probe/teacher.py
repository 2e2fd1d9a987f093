"""A teacher for the drawn world, where no public CLIP is of use: a student that learnt from true captions alone."""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from captioners.core.errors import UserError
from captioners.data.drawn_render import render
from captioners.data.drawn_scene import scene
from captioners.data.drawn_voices import VOICES, captions
from captioners.images.preprocess import chw
from captioners.jobs.probe.student import Student, make_student
from captioners.jobs.probe.table import Table
from captioners.jobs.probe.train import Steps, train
from captioners.jobs.recipes.probe import TINY, ProbeOptions
from captioners.reinforcement.augmentation import Augmentation, draw, replay
from captioners.reinforcement.held import Held
from captioners.reinforcement.loss import Teacher

AUGMENTATION = Augmentation(size=96, scale=(0.7, 1.0), num_ops=0)
"""Whole enough that captions stay true, and no change of colours."""
MADE_BY = "made_by.json"
"""In a teacher's folder: what it was trained with."""
_VIEWS, _TOLD = 4, 4
"""Augmentations of a scene, and captions of it in each manner."""
_SAID = 100
"""Steps between two lines."""


def train_teacher(
    folder: Path,
    *,
    student: str | Mapping[str, Any] = TINY,
    scenes: int = 4000,
    steps: int = 1000,
    batch_size: int = 128,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train a teacher on true captions of every manner and return its folder, which open_clip opens as `local-dir:`.

    Scenes are of the split `pretrain`: neither captioned nor evaluated ones are among them. One that is there already
    is returned as it is.

    Raises UserError where the one that is there was trained otherwise.
    """
    about = {"student": student, "scenes": scenes, "steps": steps, "batch_size": batch_size, "seed": seed}
    if (folder / "open_clip_config.json").is_file():
        _same(folder / MADE_BY, about)
        return folder
    learner = make_student(student, seed)
    table = _table(learner, scenes, seed)
    options = ProbeOptions(steps=steps, batch_size=batch_size, ground_truth=False)
    tokens = learner.tokenize(table.held.texts), learner.tokenize(list(table.captions))

    def look(step: int, loss: float) -> None:
        if (step + 1) % _SAID == 0:
            say(f"teacher: step {step + 1:,} of {steps:,}, loss {loss:.2f}")

    feed = Steps(table, tokens, seed=seed, batch=batch_size, ground_truth=False)
    train(learner, feed, [Teacher(1, 1.0)], options, distillation_weight=0.0, look=look)
    part = folder.with_name(f"{folder.name}.part")
    learner.save(part)
    (part / MADE_BY).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    part.rename(folder)
    return folder


def _same(file: Path, about: Mapping[str, Any]) -> None:
    """Raise UserError unless the settings kept in a file are these.

    A teacher without them is not taken on trust: it may have had other steps, and what students come to is its doing.
    """
    try:
        there = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        what = "damaged" if file.is_file() else f"has no {file.name}, as those of earlier versions"
        raise UserError(
            f"teacher {file.parent}: {what}, so nobody knows how it was trained; remove that folder, and the same "
            "command trains it again (where it comes out the same, what it embedded stays good)"
        ) from None
    for name, value in about.items():
        if there.get(name) != json.loads(json.dumps(value)):
            raise UserError(
                f"{file.parent} was trained with {name} {there.get(name)}, and {value} is asked; remove it, or name "
                "another output"
            )


def _table(learner: Student, scenes: int, seed: int) -> Table:
    """Return scenes with their true captions, drawn here; their embeddings are zeros, for nobody distils them."""
    drawn = [scene(seed, "pretrain", index) for index in range(scenes)]
    pixels = np.empty((scenes, _VIEWS, 3, *learner.size), np.uint8)
    told: list[str] = []
    of_image: list[dict[str, list[int]]] = []
    for at, one in enumerate(drawn):
        picture = render(one)
        name = sha256(one.name.encode()).hexdigest()
        for view in range(_VIEWS):
            params = draw(AUGMENTATION, picture.width, picture.height, seed, name, view)
            pixels[at, view] = chw(replay(picture, params, AUGMENTATION, learner.size, learner.interpolation))
        of_image.append({})
        for voice in VOICES:
            if voice != "alt_text":
                of_image[-1][voice] = list(range(len(told), len(told) + _TOLD))
                told += captions(one, voice, _TOLD, seed)
    names = [("drawn", one.name) for one in drawn]
    held = Held(
        names=names,
        texts=[""] * scenes,
        captions=of_image,
        caption_texts=told,
        meta=[{}] * scenes,
        pixels=pixels,
        image_emb=np.zeros((scenes, _VIEWS, 1), np.float32),
        text_emb=np.zeros((scenes, 1), np.float32),
        caption_emb=np.zeros((len(told), 1), np.float32),
        left_out=[],
        num_left_out=0,
    )
    rows = np.arange(scenes)
    return Table(
        held=held, names=names, rows=rows, truth=rows, of_image=of_image, captions=told, caption_emb=held.caption_emb
    )
