"""A CoCa's forward pass for training: open_clip's own outputs at the positions that a loss reads, and nothing else.

Captions are padded to the context, and most of it is padding. Four cuts leave every loss and gradient as it is:

- Text is trimmed to T' = min(C, n + 1) columns, n being the longest caption's tokens with start and end. One pad column
  stays, because open_clip's mask is shifted by one: CLS sees the first pad. CLS keeps the position table's last row.
- Without a contrastive loss there is no CLS, no padding mask and no projection: a token never sees what comes after it.
- The vocabulary is scored where there is a label only.
- Several captions of one image share its encoding, and its keys and values in the decoder.

Axes: B images, K captions of an image at most, R captions, C context length, T' text columns, S decoder positions
(n - 1), L labels of the batch, N image tokens, D width, E width of the latents, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioners.core.errors import UserError
from captioners.models.coca_blocks import PAD, PLAIN, Blocks, is_plain, padding_mask


@dataclass(frozen=True)
class Captions:
    """The token ids of a batch, trimmed, where its labels stand, and whose captions they are."""

    ids: Tensor
    """int64 [R, T']."""
    labels: Tensor
    """int64 [L]: every token that is to be predicted, row by row."""
    places: Tensor
    """int64 [L]: the decoder position r * S + t that predicts each label."""
    steps: int
    """S."""
    holes: bool
    """Whether a caption holds the pad's id within (CLIP's bare "!"): it hides the token after it from later ones."""
    owner: Tensor
    """int64 [R], non-decreasing: the image of each caption."""
    most: int
    """K."""
    slots: Tensor | None
    """int64 [R]: each caption's place among B * K; None when all of these are taken, in order."""

    def to(self, device: torch.device) -> "Captions":
        """Return the same on a device; the copies do not wait."""
        ids, labels, places, owner = (
            t.to(device, non_blocking=True) for t in (self.ids, self.labels, self.places, self.owner)
        )
        slots = None if self.slots is None else self.slots.to(device, non_blocking=True)
        return Captions(ids, labels, places, self.steps, self.holes, owner, self.most, slots)


def trim(text: Tensor, context_length: int, owner: Tensor | None = None) -> Captions:
    """Return what the forward pass needs of token ids [R, <= C], each row start, content, end, then 0.

    Meant for ids on the CPU: what depends on their values is decided here, so that a GPU is never waited for.

    Args:
        text: the ids.
        context_length: C.
        owner: int64 [R], the image of each caption, 0 to B - 1 without a gap and in order; None: one caption each.

    Raises:
        UserError: no caption has a token to predict, or the rows are wider than the context.
    """
    if text.shape[1] > context_length:
        raise UserError(f"captions of {text.shape[1]} token slots do not fit a context of {context_length}")
    real = text != PAD
    ends = real.shape[1] - real.flip(1).to(torch.uint8).argmax(1)  # not a count: id 0 may stand within a caption
    longest = int(ends.max()) if bool(real.any()) else 0
    if longest < 2:
        raise UserError("no caption of this batch has a token to predict; give captions with text")
    width = min(context_length, longest + 1)
    ids = F.pad(text, (0, max(0, width - text.shape[1])))[:, :width]
    wanted = real[:, 1:longest]
    holes = bool((wanted.sum(1) + 1 < ends).any())
    owner = torch.arange(len(text)) if owner is None else owner
    most, slots = _slots(owner)
    return Captions(
        ids=ids,
        labels=text[:, 1:longest][wanted],
        places=wanted.flatten().nonzero().squeeze(1),
        steps=longest - 1,
        holes=holes,
        owner=owner,
        most=most,
        slots=slots,
    )


def num_labels(text: Tensor) -> int:
    """Return how many tokens of ids [R, T] are to be predicted: all but the start and the pads."""
    return int((text[:, 1:] != PAD).sum())


def _slots(owner: Tensor) -> tuple[int, Tensor | None]:
    """Return K, and each caption's place among B * K unless that is its number."""
    counts = owner.bincount()
    if bool((owner.diff() < 0).any()) or int(counts.min()) == 0:
        raise ValueError(f"owner {owner.tolist()}: must name each image at least once, in order")
    most = int(counts.max())
    if most * len(counts) == len(owner):
        return most, None
    first = (counts.cumsum(0) - counts)[owner]
    return most, owner * most + torch.arange(len(owner)) - first


@dataclass(frozen=True)
class ImageFeatures:
    """What the rest of the model sees of images."""

    tokens: Tensor
    """[B, N, D], for the decoder."""
    pooled: Tensor | None
    """[B, E], for the contrastive loss, not yet of length 1; None where nobody asks for it."""

    def to(self, device: torch.device) -> "ImageFeatures":
        """Return the same on a device; the copies do not wait."""
        pooled = None if self.pooled is None else self.pooled.to(device, non_blocking=True)
        return ImageFeatures(self.tokens.to(device, non_blocking=True), pooled)


@dataclass(frozen=True)
class Outputs:
    """What a loss reads."""

    logits: Tensor
    """[L, V]."""
    image_latent: Tensor | None
    """[B, E], of length 1; None without a contrastive branch, like `text_latent`."""
    text_latent: Tensor | None
    """[R, E]."""


def forward(
    model: nn.Module, images: Tensor | ImageFeatures, captions: Captions, *, contrastive: bool, blocks: Blocks = PLAIN
) -> Outputs:
    """Run open_clip's CoCa on normalised images [B, 3, H, W], or on their features, and their captions.

    Raises:
        UserError: a text tower that this pass does not know.
    """
    coca: Any = model
    seen = encode_images(model, images, blocks=blocks) if isinstance(images, Tensor) else images
    states, text_pooled = _text(coca.text, captions, contrastive, blocks)
    steps = states[:, : captions.steps]
    for block, cross in zip(coca.text_decoder.resblocks, coca.text_decoder.cross_attn, strict=True):
        steps = blocks(block, steps, causal=True)
        steps = _by_caption(blocks(cross, _by_image(steps, captions, len(seen.tokens)), memory=seen.tokens), captions)
    predicting = coca.text_decoder.ln_final(steps.flatten(0, 1).index_select(0, captions.places))
    logits = predicting @ coca.text_decoder.text_projection
    if text_pooled is None:
        return Outputs(logits, None, None)
    return Outputs(logits, _image_latent(seen), F.normalize(text_pooled, dim=-1))


def latents(
    model: nn.Module, images: Tensor | ImageFeatures, captions: Captions, *, blocks: Blocks = PLAIN
) -> tuple[Tensor, Tensor]:
    """Return what `forward` calls image_latent [B, E] and text_latent [R, E], without running the decoder."""
    coca: Any = model
    seen = encode_images(model, images, blocks=blocks) if isinstance(images, Tensor) else images
    _, text_pooled = _text(coca.text, captions, True, blocks)
    assert text_pooled is not None
    return _image_latent(seen), F.normalize(text_pooled, dim=-1)


def unused_without_contrast(model: nn.Module) -> set[str]:
    """Return the names of the parameters that only a contrastive loss reaches."""
    visual: Any = model.get_submodule("visual")
    only = ["logit_scale", "logit_bias", "text.cls_emb", "text.ln_final.", "text.text_projection", "visual.proj"]
    only.append("visual.attn_pool_contrastive.")
    if getattr(visual, "attn_pool", None) is None and getattr(visual, "final_ln_after_pool", False):
        only.append("visual.ln_post.")  # of the class token alone
    return {name for name, _ in model.named_parameters() if name.startswith(tuple(only))}


def encode_images(model: nn.Module, images: Tensor, *, blocks: Blocks = PLAIN) -> ImageFeatures:
    """Return open_clip's image tokens and pooled image of normalised images [B, 3, H, W]."""
    visual: Any = model.get_submodule("visual")
    layers = getattr(getattr(visual, "transformer", None), "resblocks", ())
    if not layers or not all(is_plain(block) for block in layers) or not hasattr(visual, "_embeds"):
        pooled, tokens = visual(images)  # a timm tower, say
        return ImageFeatures(tokens, pooled)
    x = visual._embeds(images)
    for block in layers:
        x = blocks(block, x)
    pooled, tokens = visual._pool(x)
    return ImageFeatures(tokens, pooled if visual.proj is None else pooled @ visual.proj)


def _image_latent(seen: ImageFeatures) -> Tensor:
    if seen.pooled is None or seen.pooled.ndim != 2:  # open_clip's "parallel" and "cascade" poolers are unfinished, too
        raise UserError(
            "this image tower pools for the contrastive loss in a way that open_clip has not finished; "
            "take attentional_pool: true, or contrastive_weight: 0"
        )
    return F.normalize(seen.pooled, dim=-1)


def _by_image(x: Tensor, captions: Captions, images: int) -> Tensor:
    """Put the captions [R, S, D] of an image behind each other, [B, K * S, D]: they look at one memory."""
    if captions.slots is not None:
        x = x.new_zeros(images * captions.most, *x.shape[1:]).index_copy(0, captions.slots, x)
    return x.reshape(images, captions.most * captions.steps, x.shape[-1])


def _by_caption(x: Tensor, captions: Captions) -> Tensor:
    """Undo `_by_image`."""
    x = x.view(-1, captions.steps, x.shape[-1])
    return x if captions.slots is None else x.index_select(0, captions.slots)


def _text(text: Any, captions: Captions, contrastive: bool, blocks: Blocks) -> tuple[Tensor, Tensor | None]:
    """Return the token states [R, T' or S, D] and, with a contrastive loss, what CLS says [R, E]."""
    if getattr(text, "cls_emb", None) is None or not hasattr(text, "positional_embedding"):
        raise UserError(
            "this CoCa's text tower is not open_clip's own with a CLS token; such a tower is not trained here"
        )
    table = text.positional_embedding
    if not contrastive:
        ids = captions.ids[:, : captions.steps]
        states = text.token_embedding(ids) + table[: captions.steps]
        mask = padding_mask(ids, states.dtype, cls=False) if captions.holes else None
    else:
        ids = captions.ids
        embedded = text.token_embedding(ids)
        cls = text.cls_emb.expand(ids.shape[0], 1, -1)
        states = torch.cat([embedded, cls], 1) + torch.cat([table[: ids.shape[1]], table[-1:]])
        mask = padding_mask(ids, states.dtype, cls=True)
    for block in text.transformer.resblocks:
        states = blocks(block, states, mask=mask, causal=mask is None)
    if not contrastive:
        return states, None
    pooled = text.ln_final(states[:, -1])
    projection = text.text_projection
    pooled = projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
    return states[:, :-1], pooled
