"""A small training run over scripted batches; as a program, one that may kill itself: FOLDER STEPS [DIE_AT SIGNAL].

Started on several ranks, the last one does so, and all read their share of the same batches.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from captioners.core.errors import InterruptedRunError
from captioners.core.seeds import uniforms
from captioners.data.batches import Batch
from captioners.models import coca
from captioners.training.devices import accelerator_for
from captioners.training.loop import Plan, Trainer
from captioners.training.objective import CoCaObjective
from captioners.training.ranks import Ranks
from tests.models.tiny import tiny_config

BATCH = 4


def captions(lengths, *, context=24, vocabulary=96, seed=0):
    """Token ids [B, context] of rows of these lengths, start (1) and end (2) included."""
    text = torch.zeros(len(lengths), context, dtype=torch.long)
    generator = torch.Generator().manual_seed(seed)
    for row, length in zip(text, lengths, strict=True):
        row[:length] = torch.randint(3, vocabulary, (length,), generator=generator)
        row[0], row[length - 1] = 1, 2
    return text


def normalised(pixels):
    return pixels.float() / 127.5 - 1


def share_of(batch, rank, world):
    """One rank's part of a batch: its images in order, their captions, cut to the longest of them."""
    each = len(batch.keys) // world
    mine = slice(rank * each, (rank + 1) * each)
    rows = (batch.owner >= mine.start) & (batch.owner < mine.stop)
    text = batch.text[rows]
    longest = int(text.ne(0).sum(0).nonzero().max()) + 1
    return Batch(
        batch.keys[mine], batch.pixels[mine], text[:, :longest], batch.owner[rows] - mine.start, batch.images[mine]
    )


class Scripted:
    """Batches that depend on the step alone; `at` may do something when a step is asked for."""

    def __init__(self, at=lambda step: None, period=5, rank=0, world=1) -> None:
        self.at, self.period, self.asked = at, period, []
        self.rank, self.world = rank, world

    def batch(self, step):
        self.asked.append(step)
        self.at(step)
        number = step % self.period
        pixels = (uniforms(BATCH * 3 * 32 * 32, "pixels", number) * 256).astype(np.uint8).reshape(BATCH, 3, 32, 32)
        text = captions([5 + number, 9, 4, 7], seed=number)
        keys = tuple(f"{step}/{at}" for at in range(BATCH))
        whole = Batch(keys, torch.from_numpy(pixels), text[:, : 9 + number], torch.arange(BATCH), torch.arange(BATCH))
        return share_of(whole, self.rank, self.world) if self.world > 1 else whole


def train(
    folder, steps, batches=None, *,
    seed=0, weight=1.0, show=lambda _: None, facts=None, normalise=normalised, precision="fp32",
    evaluate=None, say=lambda _: None, trainers=None, before=lambda _: None, **plan,
):  # fmt: skip
    """Train a tiny CoCa for `steps` of a schedule of `steps`; return its state. `trainers` and `before` get it."""
    model = coca.build(tiny_config(), seed)
    settings = {"lr": 3e-3, "warmup": 2, "weight_decay": 0.1, "checkpoint_every": 3, "log_every": 1, **plan}
    with accelerator_for("cpu", precision) as accelerator:
        trainer = Trainer(
            model,
            CoCaObjective(contrastive_weight=weight),
            batches or Scripted(),
            normalise,
            plan=Plan(steps=steps, **settings),
            folder=folder,
            ranks=Ranks(accelerator),
            facts=facts or {"seed": seed},
        )
        before(trainer)
        if trainers is not None:
            trainers.append(trainer)
        trainer.run(show, evaluate and (lambda step: evaluate(trainer, step)), say)
    return model.state_dict()


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, steps, *rest = sys.argv[1:]
    die_at = int(rest[0]) if rest else -1
    rank, world = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))

    def at(step):
        if step == die_at and rank == world - 1:
            os.kill(os.getpid(), getattr(signal, rest[1]))

    try:
        more = {"lr": 1e-5, "checkpoint_every": 5} if world > 1 else {}
        state = train(Path(folder), int(steps), Scripted(at, rank=rank, world=world), **more)
    except InterruptedRunError as stopped:
        print(stopped)
        sys.exit(stopped.exit_code)
    if rank == 0:
        torch.save(state, Path(folder) / "final.pt")
