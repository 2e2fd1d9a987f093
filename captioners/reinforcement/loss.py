"""MobileCLIP2's loss: CLIP's and distillation from an ensemble of CLIP teachers (arXiv 2508.20691, Eq. 1 and 2).

Of one batch of pairs: (1 - lambda) * CLIP + lambda * distillation, each the mean of image-to-text and text-to-image.
Distillation holds the student's softmax over the batch against each teacher's, at that teacher's own logit scale. Pairs
with ground-truth captions and pairs of the same images with synthetic ones are two batches, whose losses are added.

Everything is computed as shares of a global batch, so that ranks and micro-batches can each add theirs to one sum.
Axes: B pairs, E width of the student's embeddings, D sum of the teachers' widths.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from captioners.core.errors import UserError

Form = Literal["sum_over_teachers", "mean_of_softmaxes"]
"""How several teachers count. `sum_over_teachers`: the paper's, the sum of the teachers' KL divergences, over their
number. `mean_of_softmaxes`: the reference trainer's, cross-entropy against the mean of the teachers' softmaxes. They
differ by the teachers' mean entropy, which no weight of the student changes: their gradients are the same."""


@dataclass(frozen=True)
class Teacher:
    """One teacher's part of the stored embeddings."""

    width: int
    """Columns; teachers stand beside each other in this order."""
    logit_scale: float
    """Inverse temperature that its similarities are multiplied by. (A logit bias would leave a softmax as it is.)"""


class Embeddings(NamedTuple):
    """Of one batch: rows of length 1, a teacher's in each of its parts."""

    images: Tensor
    """[B, E], or [B, D] of teachers."""
    texts: Tensor
    """Likewise, of ground-truth captions."""
    syn_texts: Tensor | None = None
    """Likewise, of synthetic captions; None where these are mixed in among `texts`."""


class Losses(NamedTuple):
    """Scalars in nats, at least float32."""

    total: Tensor
    """What is minimised."""
    clip: Tensor
    """CLIP's loss, ground truth and synthetic added, before it is weighted."""
    distillation: Tensor
    """Likewise."""


@dataclass(frozen=True)
class ReinforcedLoss:
    """The loss of a student on reinforced pairs."""

    teachers: Sequence[Teacher]
    distillation_weight: float = 1.0
    """The paper's lambda: 1 for DFNDR and the 12M sets, 0.75 for DataCompDR-1B with ViT-B."""
    form: Form = "sum_over_teachers"

    def __post_init__(self) -> None:
        if not self.teachers or not all(one.width > 0 and one.logit_scale > 0 for one in self.teachers):
            raise UserError(f"loss: {self.teachers} are no teachers: each has a width and a logit scale above 0")
        if not 0 <= self.distillation_weight <= 1:
            raise UserError(f"loss: distillation_weight is {self.distillation_weight}; it is between 0 and 1")

    def __call__(
        self, student: Embeddings, teacher: Embeddings, logit_scale: Tensor, own: slice = slice(None)
    ) -> Losses:
        """Return what the pairs `own` add to the loss of the whole batch; of all pairs, the loss.

        `logit_scale` is the student's inverse temperature (not its logarithm). Gradients flow into it and into
        `student`, also into rows outside of `own`.
        """
        clip, distillation = self._terms(student.images, student.texts, teacher.images, teacher.texts, logit_scale, own)
        if student.syn_texts is not None:
            if teacher.syn_texts is None:
                raise ValueError("synthetic captions of the student without the teachers'")
            synthetic = student.images, student.syn_texts, teacher.images, teacher.syn_texts
            more = self._terms(*synthetic, logit_scale, own)
            clip, distillation = clip + more[0], distillation + more[1]
        weight = self.distillation_weight
        return Losses((1 - weight) * clip + weight * distillation, clip, distillation)

    def _terms(
        self, images: Tensor, texts: Tensor, teacher_images: Tensor, teacher_texts: Tensor, scale: Tensor, own: slice
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(images.device.type, enabled=False):
            images, texts = _precise(images), _precise(texts)
            teacher_images, teacher_texts = (_precise(rows).detach() for rows in (teacher_images, teacher_texts))
            self._check(teacher_images, teacher_texts)
            clip = distillation = images.new_zeros(())
            for one, other, taught_one, taught_other in (
                (images, texts, teacher_images, teacher_texts),
                (texts, images, teacher_texts, teacher_images),
            ):
                log_student = (scale * one[own] @ other.T).log_softmax(1)
                labels = torch.arange(len(one), device=one.device)[own]
                clip = clip + F.nll_loss(log_student, labels, reduction="sum")
                distillation = distillation + self._divergence(log_student, taught_one[own], taught_other)
            return clip / (2 * len(images)), distillation / (2 * len(images))

    def _divergence(self, log_student: Tensor, ones: Tensor, others: Tensor) -> Tensor:
        widths = [teacher.width for teacher in self.teachers]
        parts = zip(self.teachers, torch.split(ones, widths, 1), torch.split(others, widths, 1), strict=True)
        logits = torch.stack([teacher.logit_scale * one @ other.T for teacher, one, other in parts])
        if self.form == "mean_of_softmaxes":
            return -(logits.softmax(2).mean(0) * log_student).sum()
        log_teachers = logits.log_softmax(2)
        each = F.kl_div(log_student.expand_as(log_teachers), log_teachers, reduction="sum", log_target=True)
        return each / len(self.teachers)

    def _check(self, *embeddings: Tensor) -> None:
        wanted = sum(teacher.width for teacher in self.teachers)
        for rows in embeddings:
            if rows.shape[1] != wanted:
                widths = " + ".join(str(teacher.width) for teacher in self.teachers)
                raise UserError(
                    f"loss: stored embeddings are {rows.shape[1]} wide, the teachers {widths}; name the teachers that "
                    "the set was made with, in its order (config.json)"
                )


def _precise(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
