"""CoCa's two losses as sums over shares of a global batch (arXiv 2205.01917, section 3.2).

Each rank and each micro-batch adds its share to one sum, so what is minimised is the loss of the global batch, however
that is split. Axes: B images, R captions, E width of the latents, L labels, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def caption_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the negative log-likelihood of labels [L] under logits [L, V], summed, in nats and at least fp32.

    Logits that autocast made come in bf16, whose 8 binary digits hold neither the sum nor the gradient of a softmax.
    """
    return F.cross_entropy(_at_least_fp32(logits), labels, reduction="sum")


def contrastive_share(
    images: Tensor, texts: Tensor, owner: Tensor, scale: Tensor, own_images: slice, own_texts: slice
) -> Tensor:
    """Return what a part of the batch adds to CLIP's symmetric loss over all of it, in nats.

    An image's positives are all its captions, which count alike (cross-entropy with a uniform target); a caption's is
    its image. Summed over parts it is the mean over images and the mean over captions, halved; with one caption an
    image it is CLIP's loss.

    Args:
        images: [B, E] of the whole batch, each of length 1.
        texts: [R, E] likewise.
        owner: int64 [R]: caption r was written of image owner[r]; non-decreasing.
        scale: the inverse temperature, a scalar.
        own_images: the part's images.
        own_texts: its captions: those that these images own.
    """
    with torch.autocast(images.device.type, enabled=False):
        images, texts = _at_least_fp32(images), _at_least_fp32(texts)
        mine = owner[own_texts]
        columns = torch.arange(len(texts), device=owner.device)[own_texts]
        of_texts = (scale * images[own_images] @ texts.T).log_softmax(1)
        # Not `bincount`, which makes a GPU be waited for.
        counts = of_texts.new_zeros(len(images)).scatter_add_(0, owner, of_texts.new_ones(len(owner)))
        weights = counts[mine].reciprocal()
        to_texts = -(of_texts[mine - own_images.start, columns] * weights).sum() / len(images)
        to_images = F.cross_entropy(scale * texts[own_texts] @ images.T, mine, reduction="sum") / len(texts)
        return (to_texts + to_images) / 2


def _at_least_fp32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
