"""A CoCa's forward pass for training: open_clip's own outputs at the positions that a loss reads, and nothing else.

Captions are padded to the context, and most of it is padding. Three cuts leave every loss and gradient as it is:

- Text is trimmed to T' = min(C, n + 1) columns, n being the longest caption's tokens with start and end. One pad column
  stays, because open_clip's mask is shifted by one: CLS sees the first pad. CLS keeps the position table's last row.
- Without a contrastive loss there is no CLS, no padding mask and no projection: a token never sees what comes after it.
- The vocabulary is scored where there is a label only.

Axes: B images, C context length, T' text columns, S decoder positions (n - 1), L labels of the batch, D width,
V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioners.core.errors import UserError

PAD = 0


@dataclass(frozen=True)
class Captions:
    """The token ids of a batch, trimmed, and where its labels stand."""

    ids: Tensor
    """int64 [B, T']."""
    labels: Tensor
    """int64 [L]: every token that is to be predicted, row by row."""
    places: Tensor
    """int64 [L]: the decoder position b * S + t that predicts each label."""
    steps: int
    """S."""
    holes: bool
    """Whether a caption holds the pad's id within (CLIP's bare "!"): it hides the token after it from later ones."""

    def to(self, device: torch.device) -> "Captions":
        """Return the same on a device; the copies do not wait."""
        ids, labels, places = (t.to(device, non_blocking=True) for t in (self.ids, self.labels, self.places))
        return Captions(ids, labels, places, self.steps, self.holes)


def trim(text: Tensor, context_length: int) -> Captions:
    """Return what the forward pass needs of token ids [B, <= C], each row start, content, end, then 0.

    Meant for ids on the CPU: what depends on their values is decided here, so that a GPU is never waited for.

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
    return Captions(ids, text[:, 1:longest][wanted], wanted.flatten().nonzero().squeeze(1), longest - 1, holes)


@dataclass(frozen=True)
class Outputs:
    """What a loss reads."""

    logits: Tensor
    """[L, V]."""
    image_latent: Tensor | None
    """[B, E], of length 1; None without a contrastive branch, like `text_latent`."""
    text_latent: Tensor | None


def forward(model: nn.Module, images: Tensor, captions: Captions, *, contrastive: bool) -> Outputs:
    """Run open_clip's CoCa on normalised images [B, 3, H, W] and their captions.

    Raises:
        UserError: a text tower that this pass does not know.
    """
    coca: Any = model
    pooled, image_tokens = _image(coca.visual, images)
    states, text_pooled = _text(coca.text, captions, contrastive)
    steps = states[:, : captions.steps]
    for block, cross in zip(coca.text_decoder.resblocks, coca.text_decoder.cross_attn, strict=True):
        steps = _block(block, steps, causal=True)
        steps = _block(cross, steps, memory=cross.ln_1_kv(image_tokens))
    predicting = coca.text_decoder.ln_final(steps.flatten(0, 1).index_select(0, captions.places))
    logits = predicting @ coca.text_decoder.text_projection
    if text_pooled is None:
        return Outputs(logits, None, None)
    if pooled.ndim != 2:  # open_clip's "parallel" and "cascade" poolers, which it calls unfinished, too
        raise UserError(
            "this image tower pools for the contrastive loss in a way that open_clip has not finished; "
            "take attentional_pool: true, or contrastive_weight: 0"
        )
    return Outputs(logits, F.normalize(pooled, dim=-1), F.normalize(text_pooled, dim=-1))


def unused_without_contrast(model: nn.Module) -> set[str]:
    """Return the names of the parameters that only a contrastive loss reaches."""
    visual: Any = model.get_submodule("visual")
    only = ["logit_scale", "logit_bias", "text.cls_emb", "text.ln_final.", "text.text_projection", "visual.proj"]
    only.append("visual.attn_pool_contrastive.")
    if getattr(visual, "attn_pool", None) is None and getattr(visual, "final_ln_after_pool", False):
        only.append("visual.ln_post.")  # of the class token alone
    return {name for name, _ in model.named_parameters() if name.startswith(tuple(only))}


def _image(visual: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return open_clip's pooled [B, E] and tokens [B, N, D]."""
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", ())
    if not blocks or not all(_is_plain(block) for block in blocks) or not hasattr(visual, "_embeds"):
        pooled, tokens = visual(images)  # a timm tower, say
        return pooled, tokens
    x = visual._embeds(images)
    for block in blocks:
        x = _block(block, x)
    pooled, tokens = visual._pool(x)
    return pooled if visual.proj is None else pooled @ visual.proj, tokens


def _is_plain(block: Any) -> bool:
    attention = getattr(block, "attn", None)
    return isinstance(attention, nn.MultiheadAttention) and attention.in_proj_weight is not None


def _text(text: Any, captions: Captions, contrastive: bool) -> tuple[Tensor, Tensor | None]:
    """Return the token states [B, T' or S, D] and, with a contrastive loss, what CLS says [B, E]."""
    if getattr(text, "cls_emb", None) is None or not hasattr(text, "positional_embedding"):
        raise UserError(
            "this CoCa's text tower is not open_clip's own with a CLS token; such a tower is not trained here"
        )
    table = text.positional_embedding
    if not contrastive:
        ids = captions.ids[:, : captions.steps]
        states = text.token_embedding(ids) + table[: captions.steps]
        mask = _mask(ids, states.dtype, cls=False) if captions.holes else None
    else:
        ids = captions.ids
        embedded = text.token_embedding(ids)
        cls = text.cls_emb.expand(ids.shape[0], 1, -1)
        states = torch.cat([embedded, cls], 1) + torch.cat([table[: ids.shape[1]], table[-1:]])
        mask = _mask(ids, states.dtype, cls=True)
    for block in text.transformer.resblocks:
        states = _block(block, states, mask=mask, causal=mask is None)
    if not contrastive:
        return states, None
    pooled = text.ln_final(states[:, -1])
    projection = text.text_projection
    pooled = projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
    return states[:, :-1], pooled


def _mask(ids: Tensor, dtype: torch.dtype, *, cls: bool) -> Tensor:
    """Return open_clip's additive mask [B, 1, Q, K]: causal, and key j hidden where ids[j - 1] is a pad."""
    shown = F.pad(ids != PAD, (1, 0 if cls else -1), value=True)
    length = shown.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril_()
    seen = causal & shown[:, None, None, :]
    return torch.zeros(seen.shape, dtype=dtype, device=ids.device).masked_fill_(~seen, float("-inf"))


def _block(
    block: Any, x: Tensor, *, memory: Tensor | None = None, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Return a residual block of x [B, T, D]: attention within x or over `memory` [B, N, D], then the MLP."""
    if not _is_plain(block):
        raise UserError("this CoCa has blocks of a kind that is not trained here; open_clip's plain CoCas are")
    x = x + block.ls_1(_attend(block.attn, block.ln_1(x), memory, mask, causal))
    out: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return out


def _attend(attention: Any, x: Tensor, memory: Tensor | None, mask: Tensor | None, causal: bool) -> Tensor:
    # The module's own forward would copy queries, keys and values apart, and pad the mask out to every head.
    batch, length, width = x.shape
    heads = (attention.num_heads, width // attention.num_heads)
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    if memory is None:
        q, k, v = F.linear(x, weight, bias).view(batch, length, 3, *heads).unbind(2)
    else:
        q = F.linear(x, weight[:width], bias[:width]).view(batch, length, *heads)
        k, v = F.linear(memory, weight[width:], bias[width:]).view(batch, memory.shape[1], 2, *heads).unbind(2)
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    out: Tensor = attention.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))
    return out
