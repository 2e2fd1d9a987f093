"""Train one student on one table of captions.

Of a seed, everything but the captions is the same in all arms: first weights, order of pictures, augmentations. What is
drawn is a function of (seed, epoch, sample), so arms of which one has copies of the other's caption are the same arm.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioners.core.errors import CaptionersError, UserError
from captioners.core.seeds import permutation
from captioners.jobs.probe.student import Student
from captioners.jobs.probe.table import Table
from captioners.jobs.recipes.probe import ProbeOptions
from captioners.reinforcement.loss import Embeddings, ReinforcedLoss, Teacher
from captioners.reinforcement.sampling import Sampling, choose
from captioners.training.optimizer import MAX_NORM, learning_rate, make_optimizer, set_learning_rate


@dataclass(frozen=True)
class Step:
    """What a step is fed: B pictures, of each a caption or two, and the teachers' embeddings of these."""

    pixels: Tensor
    """uint8 [B, 3, H, W]."""
    texts: Tensor | None
    """Token ids [B, T] of the captions that came with the pictures; None without them."""
    syn_texts: Tensor | None
    """Of the synthetic captions; None where an arm has none."""
    teacher: Embeddings


class Steps:
    """The steps of one seed on one table; `steps[s]` does not depend on those before.

    Args:
        tokens: what the student is given of `table.texts`, and of `table.captions`, [_, T] each.
        ground_truth: whether captions that came with the pictures are trained on.
    """

    def __init__(
        self, table: Table, tokens: tuple[Tensor, Tensor], *, seed: int, batch: int, ground_truth: bool
    ) -> None:
        if len(table) < batch:
            raise UserError(f"batch_size {batch}: the arms share {len(table)} pictures; take a smaller batch or more")
        self._table, (self._texts, self._captions) = table, tokens
        self._rule, self._batch, self._truth = Sampling(seed), batch, ground_truth
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def __getitem__(self, step: int) -> Step:
        """Return what step `step` is fed."""
        table = self._table
        epoch, place = divmod(step, len(table) // self._batch)
        if epoch != self._epoch:
            self._order, self._epoch = permutation(len(table), "reinforced order", self._rule.seed, epoch), epoch
        chosen = self._order[place * self._batch : (place + 1) * self._batch]
        augmentations = table.held.pixels.shape[1]
        views, captions = [], []
        for one in chosen:
            syn = table.of_image[one]
            choice = choose(self._rule, epoch, table.names[one], augmentations, syn)
            views.append(choice.augmentation)
            if syn:
                captions.append(syn[choice.syn_key][choice.caption])
        rows = table.rows[chosen]
        truth, syn_rows = table.truth[chosen], np.asarray(captions, np.int64)
        image_emb = torch.from_numpy(table.held.image_emb[rows, views])
        text_emb = torch.from_numpy(table.held.text_emb[truth])
        syn_emb = torch.from_numpy(np.asarray(table.caption_emb[syn_rows])) if captions else None
        return Step(
            torch.from_numpy(table.held.pixels[rows, views]),
            self._texts[torch.from_numpy(truth)] if self._truth else None,
            self._captions[torch.from_numpy(syn_rows)] if captions else None,
            Embeddings(image_emb, text_emb, syn_emb),
        )


def train(
    student: Student,
    steps: Steps,
    teachers: Sequence[Teacher],
    options: ProbeOptions,
    *,
    distillation_weight: float,
    look: Callable[[int, float], None] = lambda _step, _loss: None,
) -> float:
    """Train a student in place and return its last loss, in nats; `look` is told each step's.

    Raises CaptionersError if the loss is no number any more.
    """
    model, loss_of = student.model, ReinforcedLoss(teachers, distillation_weight)
    optimizer = make_optimizer(dict(model.named_parameters()), weight_decay=options.weight_decay)
    warmup = min(1000, options.steps // 20) if options.warmup is None else options.warmup
    model.train()
    loss = float("nan")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of dropout, where an architecture has it: the same in all arms
        for step in range(options.steps):
            set_learning_rate(optimizer, learning_rate(step, peak=options.lr, warmup=warmup, total=options.steps))
            total = _loss(student, steps[step], loss_of)
            optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
            loss = float(total.detach())
            if not np.isfinite(loss):
                raise CaptionersError(f"the student's loss is {loss} after step {step + 1}; a lower lr may help")
            look(step, loss)
    return loss


def _loss(student: Student, step: Step, loss_of: ReinforcedLoss) -> Tensor:
    """Return the loss of a step."""
    images = student.images(step.pixels)
    # Each kind by itself: web texts are short, and would be padded to the longest synthetic caption.
    texts = [student.texts(tokens) for tokens in (step.texts, step.syn_texts) if tokens is not None]
    taught = [(step.teacher.texts, step.texts), (step.teacher.syn_texts, step.syn_texts)]
    # Synthetic captions alone take the ground truth's place.
    rows = [rows.to(images.device) for rows, tokens in taught if rows is not None and tokens is not None]
    teacher = Embeddings(step.teacher.images.to(images.device), *rows)
    return loss_of(Embeddings(images, *texts), teacher, student.logit_scale).total
