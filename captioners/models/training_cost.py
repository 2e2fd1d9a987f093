"""What a training step of a CoCa costs: operations, and the memory of one GPU, from the architecture.

Operations are counted as in `models.cost`: products with weights and attention, a multiplication with its addition two.
A product has two gradients of as many operations each, that of its input and that of its weights; one that nobody asks
for is not counted. Attention is counted whole, though kernels may skip the half that a causal mask hides.

Memory is what waits for the backward pass, beside weights, gradients and optimizer: under autocast a residual block of
T positions, width W, h = MLP width / W and c bytes a number keeps c T W (6 + 2h) of products' inputs, attention's
queries, keys, values and result, and 8 T W of its two norms, which run in fp32. (A cross-attention block keeps c T W
(4 + 2h) + 8 T W of the text and (3c + 4) N W of each image's N tokens.) With gradient checkpointing a block keeps its
input alone, and one block at a time is made again.
"""

from dataclasses import dataclass
from typing import Any

from captioners.models.cost import image_work, matrices

_FLOAT = 4  # bytes of a float32
_SCORES = 12
"""Bytes of a vocabulary score beside its own in autocast's type, twice: as fp32, its log-softmax, its gradient."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """How a step is run, and on what captions."""

    batch: int
    """Images of the whole step."""
    gpus: int = 1
    micro_batch: int
    """Images that one GPU holds at once; more of its share are done one after another."""
    tokens: float
    """Of the longest caption of a micro-batch, with start and end: all are padded to it."""
    labels: float
    """Tokens to predict of a caption on average: its tokens with start and end, less one."""
    captions: float = 1.0
    """Of each image in a step."""
    contrastive: bool = True
    tune_image: bool = True
    """Whether the image tower is trained."""
    cached: bool = False
    """Whether the image tower's features are read, not computed."""
    checkpointing: bool = False
    """Whether blocks are computed again for their gradients."""
    compute_bytes: int = 2
    """Of a number in products: 2 under autocast to bf16, 4 without."""

    @property
    def accumulates(self) -> bool:
        """Whether a GPU's share takes several micro-batches."""
        return self.micro_batch * self.gpus < self.batch


@dataclass(frozen=True)
class Blocks:
    """Residual blocks of one tower."""

    layers: int
    width: int
    hidden: int
    """Width of the MLP."""
    weights: int
    """Of the matrices of all layers."""

    def forward(self, positions: float) -> float:
        """Operations of a sequence."""
        return 2 * positions * self.weights + 4 * self.layers * positions**2 * self.width

    def kept(self, positions: float, step: Step, stream: int) -> float:
        """Bytes that a sequence leaves for the backward pass; `stream` is the residual stream's bytes a number."""
        whole = positions * (step.compute_bytes * (6 * self.width + 2 * self.hidden) + 2 * _FLOAT * self.width)
        return whole + self.layers * positions * self.width * stream if step.checkpointing else self.layers * whole


@dataclass(frozen=True)
class TrainingCost:
    """The sizes of one CoCa that decide what a step of it costs."""

    parameters: int
    image_parameters: int
    encode: float
    """Operations per image, up to the image tokens."""
    unseen: float
    """Of these, the patches' own: pixels need no gradient."""
    positions: int
    """Of the image tower: patches and the class token."""
    image_tokens: int
    """That the decoder sees."""
    pooled: int
    """Positions that the attentional pooler makes; 0 without one."""
    image: Blocks
    text: Blocks
    decoder: Blocks
    context: int
    embed: int
    """Width of the contrastive space."""
    vocabulary: int

    def operations(self, step: Step) -> dict[str, float]:
        """Return what a step computes for one image and its captions, forward and backward, by part."""
        frozen = not step.tune_image
        image = 0.0 if step.cached else self.encode * (1 if frozen else 3) - (0 if frozen else self.unseen)
        columns = self._columns(step)
        text = self.text.forward(columns) + (2 * self.decoder.width * self.embed if step.contrastive else 0)
        again = 0.0
        if step.checkpointing:
            blocks = 0.0 if step.cached or frozen else self.image.forward(self.positions)
            again = blocks + step.captions * (self.text.forward(columns) + self._decoder(step)) + self._memory
        parts = {
            "image tower": image,
            "text tower": 3 * step.captions * text,
            "decoder": 3 * (step.captions * self._decoder(step) + self._memory),
            "vocabulary": 6 * step.captions * step.labels * self.decoder.width * self.vocabulary,
        }
        if step.contrastive:
            # Each image is scored against all texts, and each text against all images.
            parts["contrastive"] = 12 * step.captions * step.batch * self.embed
        if step.contrastive and step.accumulates:
            parts["features first, without gradients"] = (0 if step.cached else self.encode) + step.captions * text
        if again:
            parts["computed again for gradients"] = again
        return parts

    def memory(self, step: Step) -> dict[str, float]:
        """Return the bytes that one GPU holds at most, by part; the allocator's own and the driver's are not in it."""
        trained = self.parameters - (0 if step.tune_image else self.image_parameters)
        c, images = step.compute_bytes, step.micro_batch
        texts = step.captions * images
        parts = {
            "weights": float(_FLOAT * self.parameters),
            "gradients": float(_FLOAT * trained),
            "AdamW's two moments": 2.0 * _FLOAT * trained,
        }
        if c < _FLOAT:
            parts["weights in bf16, while a step runs"] = float(c * trained)
        if step.gpus > 1:
            parts["gradients in buckets, to be averaged"] = float(_FLOAT * trained)
        if step.tune_image and not step.cached:
            parts["image tower, for its gradients"] = images * self._image_kept(step)
        decoder = self.decoder.kept(step.tokens - 1, step, _FLOAT) + self._cross_kept(step, step.captions)
        parts["text tower, for its gradients"] = texts * self.text.kept(self._columns(step), step, _FLOAT)
        parts["decoder, for its gradients"] = texts * decoder
        parts["vocabulary scores"] = texts * step.labels * self.vocabulary * (2 * c + _SCORES)
        if step.contrastive:  # scores, log-softmax and gradient of own rows, both ways
            parts["contrastive scores"] = 6.0 * _FLOAT * texts * step.batch
        return parts

    def _columns(self, step: Step) -> float:
        return min(self.context, step.tokens + 1) + 1 if step.contrastive else step.tokens - 1

    @property
    def _memory(self) -> float:
        """Operations of an image's cross-attention keys and values."""
        width = self.decoder.width
        return 4 * self.decoder.layers * self.image_tokens * width**2

    def _decoder(self, step: Step) -> float:
        """Operations of a caption in the decoder, up to the vocabulary."""
        steps, width, layers = step.tokens - 1, self.decoder.width, self.decoder.layers
        cross = 2 * steps * (2 * width + 2 * self.decoder.hidden) * width + 4 * steps * self.image_tokens * width
        return self.decoder.forward(steps) + layers * cross

    def _image_kept(self, step: Step) -> float:
        c, width, out = step.compute_bytes, self.image.width, self.decoder.width
        blocks = self.image.kept(self.positions, step, c)
        embedded = self.positions * width * _FLOAT  # ln_pre's
        if not self.pooled:
            return blocks + embedded
        keys = self.positions * (width * (_FLOAT + c) + 2 * out * c)  # ln_k, what is projected, keys and values
        return blocks + embedded + keys + self.pooled * out * (3 * c + _FLOAT)  # queries, result, ln_post

    def _cross_kept(self, step: Step, captions: float) -> float:
        """Bytes that a caption and its share of the image's keys and values leave."""
        c, width, layers = step.compute_bytes, self.decoder.width, self.decoder.layers
        steps = step.tokens - 1
        text = steps * (c * (4 * width + 2 * self.decoder.hidden) + 2 * _FLOAT * width)
        image = self.image_tokens * width * (3 * c + _FLOAT) / captions
        whole = text + image
        return whole + layers * steps * width * _FLOAT if step.checkpointing else layers * whole


def training_cost_of(model: Any) -> TrainingCost:
    """Count an open_clip `CoCa`; it may lie on the meta device, for nothing of it is computed."""
    visual, text, decoder = model.visual, model.text, model.text_decoder
    positions, _ = visual.positional_embedding.shape
    made, encode = image_work(visual)
    pooled = 0 if visual.attn_pool is None else made
    patches = visual.grid_size[0] * visual.grid_size[1]
    return TrainingCost(
        parameters=sum(p.numel() for p in model.parameters()),
        image_parameters=sum(p.numel() for p in visual.parameters()),
        encode=encode,
        unseen=2.0 * patches * visual.conv1.weight.numel(),
        positions=positions,
        image_tokens=made - 1 if pooled and visual.pool_type != "none" else made,
        pooled=pooled,
        image=_blocks(visual.transformer.resblocks),
        text=_blocks(text.transformer.resblocks),
        decoder=_blocks(decoder.resblocks),
        context=text.context_length,
        embed=visual.output_dim,
        vocabulary=decoder.text_projection.shape[1],
    )


def _blocks(blocks: Any) -> Blocks:
    first = blocks[0]
    width, hidden = first.attn.embed_dim, first.mlp.c_fc.out_features
    return Blocks(layers=len(blocks), width=width, hidden=hidden, weights=matrices(blocks))
