"""The loss and the gradient of a global batch, whatever the ranks and micro-batches it is split into.

Every rank adds its share to one sum: the caption loss is a sum over its labels divided by the labels of all ranks; of
the contrastive loss it adds the rows of its own images and captions, scored against those of all ranks. With several
micro-batches the latents are computed first without a graph, the contrastive loss hands each its gradient, and a second
pass carries it back together with that of the captions (Gao et al. 2021, arXiv 2101.06983). A contrastive weight of 0
needs one pass. Memory that runs out halves the micro-batch and repeats the phase on this rank alone: ranks need not
agree on it, since no pass over a micro-batch waits for another rank.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from captioners.data.batches import Batch
from captioners.models.coca_blocks import PLAIN, Blocks
from captioners.models.coca_training import Captions, ImageFeatures, Outputs, forward, latents, num_labels, trim
from captioners.training.losses import caption_sum, contrastive_share
from captioners.training.micro_batches import MicroBatch, halving, owner_of, split
from captioners.training.objective import CoCaObjective
from captioners.training.ranks import Ranks

_T = TypeVar("_T")


class Features(Protocol):
    """Image features by the images' numbers in the set."""

    def __getitem__(self, images: Tensor) -> ImageFeatures:
        """Return those of images [B], on the CPU."""


Images = Callable[[Tensor], Tensor] | Features
"""What the model sees of a batch: pixels made of uint8 [B, 3, H, W] by a function, or what the image tower said."""


@dataclass(frozen=True)
class Count:
    """What one rank brings to a step."""

    labels: int
    images: int
    captions: int

    @staticmethod
    def of(batch: Batch) -> "Count":
        """Count a batch."""
        return Count(num_labels(batch.text), len(batch.keys), len(batch.text))


@dataclass(frozen=True)
class Losses:
    """A global batch's, in nats; unweighted but for `total`."""

    caption: float
    contrastive: float
    total: float


@dataclass(frozen=True)
class _Contrast:
    """What the contrastive loss tells a rank."""

    share: Tensor
    d_images: Tensor
    """[b, E], weighted: the gradient of the global loss with respect to this rank's image latents."""
    d_texts: Tensor
    d_scale: Tensor
    """This rank's share of it."""


class GlobalGradient:
    """Called with this rank's batch, it leaves the global batch's gradient in the parameters.

    Args:
        model: open_clip's CoCa, on its device.
        objective: what is minimised.
        parameters: those that are trained, by name.
        images: what the model sees: normalised pixels, or the frozen image tower's outputs by `Batch.images`.
        ranks: the processes, and with them device and precision.
        micro_batch: images that go through the model at once; memory that runs out halves it.
        blocks: how residual blocks are run.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: CoCaObjective,
        parameters: dict[str, nn.Parameter],
        images: Images,
        *,
        ranks: Ranks,
        micro_batch: int,
        blocks: Blocks = PLAIN,
    ) -> None:
        self.model, self.objective, self.parameters, self.micro_batch = model, objective, parameters, micro_batch
        self.halved: Callable[[int], None] = lambda _: None
        """Told the new micro-batch when memory ran out."""
        self._images, self._blocks = images, blocks
        self._ranks, self._accelerator = ranks, ranks.accelerator

    def __call__(self, batch: Batch, counts: Sequence[Count] | None = None) -> Losses:
        """Return the global batch's losses, its gradient being in the parameters of every rank.

        `counts` are those of all ranks; without them the batch is taken for all there is.
        """
        counts = counts or [Count.of(batch)]
        labels = sum(count.labels for count in counts)
        kept: list[tuple[Outputs, Captions]] = []
        contrast = None
        if self.objective.contrastive_weight:
            own = self._in_parts(batch, lambda parts: self._latents(parts, kept))
            contrast = self._contrast(own, owner_of(batch), counts)
        caption = self._in_parts(batch, lambda parts: self._backward(parts, kept, labels, contrast))
        share = caption.new_zeros(())
        if contrast is not None:
            share = contrast.share.detach().double()
            if "logit_scale" in self.parameters:
                self.parameters["logit_scale"].grad = contrast.d_scale
        self._ranks.sum_gradients(self.parameters.values())
        caption_total, contrastive = self._ranks.sum(torch.stack([caption, share])).tolist()
        caption_mean = caption_total / labels
        total = self.objective.caption_weight * caption_mean + self.objective.contrastive_weight * contrastive
        return Losses(caption_mean, contrastive, total)

    @torch.no_grad()
    def blamed(self, batch: Batch) -> dict[str, float]:
        """Return the caption loss of each image of this rank by itself, worst first, those that are no number at all.

        By these a batch whose loss went wrong is searched for who did it.
        """
        found = {}
        for part in split(batch, 1):
            outputs, captions = self._forward(part)
            found[part.batch.keys[0]] = float(caption_sum(outputs.logits, captions.labels)) / len(captions.labels)
        return dict(sorted(found.items(), key=lambda one: (math.isfinite(one[1]), -one[1])))

    def trial(self, batch: Batch, size: int) -> None:
        """Run a forward and a backward pass of the batch's first `size` images, as a step would; leave no gradient."""
        part = split(batch, size)[0]
        outputs, captions = self._forward(part)
        roots = [caption_sum(outputs.logits, captions.labels)]
        roots += [latent.sum() for latent in (outputs.image_latent, outputs.text_latent) if latent is not None]
        torch.autograd.backward([root for root in roots if root.requires_grad])
        self._forget()

    def _in_parts(self, batch: Batch, work: Callable[[list[MicroBatch]], _T]) -> _T:
        def halved(size: int) -> None:
            self.micro_batch = size
            self._forget()
            self.halved(size)

        return halving(lambda size: work(split(batch, size)), min(self.micro_batch, len(batch.keys)), halved)

    def _forget(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None

    def _forward(self, part: MicroBatch) -> tuple[Outputs, Captions]:
        images, captions = self._seen(part)
        contrastive = self.objective.contrastive_weight > 0
        with self._accelerator.autocast():
            return forward(self.model, images, captions, contrastive=contrastive, blocks=self._blocks), captions

    def _seen(self, part: MicroBatch) -> tuple[Tensor | ImageFeatures, Captions]:
        coca: Any = self.model
        device = self._accelerator.device
        # Token ids stay on the CPU: what their values decide is decided there, without waiting for a GPU.
        captions = trim(part.batch.text, coca.text.context_length, part.batch.owner).to(device)
        if callable(self._images):
            return self._images(part.batch.pixels.to(device, non_blocking=True)), captions
        if part.batch.images is None:
            raise ValueError("cached features need batches that say their images' numbers")
        return self._images[part.batch.images].to(device), captions

    def _latents(self, parts: list[MicroBatch], kept: list[tuple[Outputs, Captions]]) -> tuple[Tensor, Tensor]:
        """Return this rank's latents [b, E] and [r, E]; a lone part's whole forward pass stays in `kept`."""
        kept.clear()
        if len(parts) == 1:
            kept.append(self._forward(parts[0]))
            outputs = kept[0][0]
            assert outputs.image_latent is not None
            assert outputs.text_latent is not None
            return outputs.image_latent.detach(), outputs.text_latent.detach()
        found = []
        with torch.no_grad(), self._accelerator.autocast():
            for part in parts:
                found.append(latents(self.model, *self._seen(part), blocks=self._blocks))
        images, texts = zip(*found, strict=True)
        return torch.cat(images), torch.cat(texts)

    def _contrast(self, own: tuple[Tensor, Tensor], owner: Tensor, counts: Sequence[Count]) -> _Contrast:
        ranks, coca = self._ranks, self.model
        rows, columns = [count.images for count in counts], [count.captions for count in counts]
        # No part of the sum is in half precision.
        latent = [t if t.dtype == torch.float64 else t.float() for t in own]
        images, texts = (
            ranks.gathered(t, n).clone().requires_grad_() for t, n in zip(latent, (rows, columns), strict=True)
        )
        first, at = sum(rows[: ranks.rank]), sum(columns[: ranks.rank])
        owners = ranks.gathered((owner + first).to(images.device), columns)
        mine = slice(first, first + len(own[0])), slice(at, at + len(own[1]))
        log_scale = coca.get_parameter("logit_scale").detach().requires_grad_()
        share = contrastive_share(images, texts, owners, log_scale.exp(), *mine)
        gradients = torch.autograd.grad(self.objective.contrastive_weight * share, (images, texts, log_scale))
        divisor = ranks.world if self.objective.contrastive_gradient == "open_clip_default" else 1
        d_images, d_texts = (ranks.sum(g)[o] / divisor for g, o in zip(gradients[:2], mine, strict=True))
        return _Contrast(share, d_images, d_texts, gradients[2])

    def _backward(
        self,
        parts: list[MicroBatch],
        kept: list[tuple[Outputs, Captions]],
        labels: int,
        contrast: _Contrast | None,
    ) -> Tensor:
        """Add every part's gradient and return this rank's summed caption loss."""
        total = torch.zeros((), dtype=torch.float64, device=self._accelerator.device)
        for part in parts:
            # A pass that was kept is used once: if it ran out of memory, the next try is in smaller parts.
            outputs, captions = kept.pop() if kept and len(parts) == 1 else self._forward(part)
            loss = caption_sum(outputs.logits, captions.labels)
            total += loss.detach()
            roots: list[Tensor] = [loss * (self.objective.caption_weight / labels)]
            gradients: list[Tensor | None] = [None]
            if contrast is not None:
                assert outputs.image_latent is not None
                assert outputs.text_latent is not None
                roots += [outputs.image_latent, outputs.text_latent]
                gradients += [contrast.d_images[part.images].to(outputs.image_latent.dtype)]
                gradients += [contrast.d_texts[part.captions].to(outputs.text_latent.dtype)]
            reached = [(root, gradient) for root, gradient in zip(roots, gradients, strict=True) if root.requires_grad]
            torch.autograd.backward([root for root, _ in reached], [gradient for _, gradient in reached])
            del outputs, loss, roots
        return total
