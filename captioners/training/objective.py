"""What training minimises: a CoCa's caption loss and, if wanted, its contrastive loss (arXiv 2205.01917, section 3.2).

Torch-free at the top, so that a recipe can hold an objective without loading torch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from captioners.core.options import Options

if TYPE_CHECKING:
    from torch import Tensor, nn

Tune = Literal["all", "text"]
"""What is trained: everything, or everything but the image tower."""


@dataclass(frozen=True)
class LossParts:
    """The parts of a batch's loss, scalars that gradients flow through."""

    caption: "Tensor"
    """Mean negative log-likelihood of a token, in nats; unweighted."""
    contrastive: "Tensor"
    """CLIP's symmetric loss over the batch, in nats, unweighted; 0 when its weight is 0."""
    total: "Tensor"
    """The weighted sum, which is minimised."""
    num_tokens: int
    """Labels that the caption loss is a mean over."""


ContrastiveGradient = Literal["global", "open_clip_default"]
"""The gradient of the global batch's contrastive loss, or what open_clip's flags give when none is set."""


class CoCaObjective(Options):
    """`caption_weight` x caption loss + `contrastive_weight` x contrastive loss; the default is the paper's."""

    caption_weight: float = Field(2.0, gt=0)
    """Weight of the caption loss."""
    contrastive_weight: float = Field(1.0, ge=0)
    """Weight of the contrastive loss; 0 leaves its branch out, and its parameters as they are."""
    contrastive_gradient: ContrastiveGradient = "global"
    """global: the gradient of the global batch's loss. open_clip_default: on W processes 1/W of it (but for the
    temperature's), as open_clip trains without `--local-loss --gather-with-grad`; on one process they are the same."""

    def __call__(
        self, model: "nn.Module", images: "Tensor", text: "Tensor", owner: "Tensor | None" = None
    ) -> LossParts:
        """Return the loss of open_clip's `model` on normalised images [B, 3, H, W] and token ids [R, <= C].

        `text` may stay on the CPU, which spares a GPU all waiting. Pads (id 0) are no labels. Caption r was written of
        image owner[r]; without `owner` there is one caption an image.

        Raises:
            UserError: there is no token to predict, or the model is a CoCa of a kind that is not trained here.
        """
        from captioners.models.coca_training import forward, trim
        from captioners.training.losses import caption_sum, contrastive_share

        coca: Any = model
        captions = trim(text, coca.text.context_length, owner).to(images.device)
        out = forward(model, images, captions, contrastive=self.contrastive_weight > 0)
        caption = caption_sum(out.logits, captions.labels) / len(captions.labels)
        contrastive = caption.new_zeros(())
        total = self.caption_weight * caption
        if out.image_latent is not None and out.text_latent is not None:
            whole = slice(0, len(out.image_latent)), slice(0, len(out.text_latent))
            scale = coca.logit_scale.exp()
            contrastive = contrastive_share(out.image_latent, out.text_latent, captions.owner, scale, *whole)
            total = total + self.contrastive_weight * contrastive
        return LossParts(caption, contrastive, total, len(captions.labels))

    def untrained(self, model: "nn.Module", tune: Tune = "all") -> set[str]:
        """Return the names of the parameters that get no gradient: frozen by `tune`, or out of this objective's reach.

        They must be left out of the optimizer and of gradient reduction: distributed training would wait for them.
        """
        from captioners.models.coca_training import unused_without_contrast

        names = set() if self.contrastive_weight else unused_without_contrast(model)
        if tune == "text":
            names |= {name for name, _ in model.named_parameters() if name.startswith("visual.")}
        return names

    def after_step(self, model: "nn.Module") -> None:
        """Keep the contrastive temperature at 1/100 or above, as CLIP's training does (arXiv 2103.00020, 2.5)."""
        import math

        import torch

        coca: Any = model
        if self.contrastive_weight and coca.logit_scale.requires_grad:
            with torch.no_grad():
                coca.logit_scale.clamp_(0, math.log(100))
