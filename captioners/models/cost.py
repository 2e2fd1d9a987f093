"""What captioning with a CoCa costs at least: operations and bytes, from the architecture.

A multiplication with its addition counts two. Counted: products with weights and attention. Not counted: norms,
activations, the choice of tokens. So a floor made of it is a bound that no implementation of the same sums passes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

_FLOAT = 4  # bytes of a float32


@dataclass(frozen=True)
class Machine:
    """What this machine was measured to do."""

    gflops: float
    """Large fp32 products, 1e9 operations a second."""
    gbytes: float
    """Reading memory, 1e9 bytes a second."""


@dataclass(frozen=True)
class Cost:
    """Operations and weights of one CoCa.

    >>> tiny = Cost(encode=100.0, memory=10.0, weights=50, width=4, image_tokens=2, self_layers=2, cross_layers=1)
    >>> tiny.step_flops(rows=3, age=5)  # 3 * (2*50 weights + 4*4*(2 layers * 5 + 1 layer * 2))
    876.0
    """

    encode: float
    """Operations per image, up to the image tokens."""
    memory: float
    """Operations per image for the cross-attention keys and values of all layers."""
    weights: int
    """Weights every decoding step reads, and every row is multiplied by."""
    width: int
    image_tokens: int
    self_layers: int
    """Layers with a self-attention cache, in both towers."""
    cross_layers: int

    def step_flops(self, rows: int, age: int) -> float:
        """Operations of one step of `rows` rows that attend to `age` positions each."""
        positions = self.self_layers * age + self.cross_layers * self.image_tokens
        return rows * (2.0 * self.weights + 4.0 * self.width * positions)

    def step_bytes(self, rows: int, images: int, age: int) -> float:
        """Bytes one fp32 step reads: the weights, each row's caches, each image's memory once for all its rows."""
        positions = rows * self.self_layers * age + images * self.cross_layers * self.image_tokens
        return _FLOAT * (self.weights + 2.0 * self.width * positions)

    def floor(self, machine: Machine, *, images: int, rows: int, steps: int) -> float:
        """Seconds no fp32 implementation beats here: all images encoded, then `steps` steps of all rows at once.

        A step takes the longer of its arithmetic and its reading.
        """
        seconds = images * (self.encode + self.memory) / machine.gflops
        for age in range(1, steps + 1):
            arithmetic = self.step_flops(rows, age) / machine.gflops
            seconds += max(arithmetic, self.step_bytes(rows, images, age) / machine.gbytes)
        return seconds / 1e9


def cost_of(model: Any) -> Cost:
    """Count an open_clip `CoCa`; it may lie on the meta device, for nothing is computed."""
    visual, text, decoder = model.visual, model.text.transformer, model.text_decoder
    width, layers = decoder.width, len(decoder.cross_attn)
    image_tokens, encode = image_work(visual)
    key_value = layers * 2 * width * width
    weights = matrices([*text.resblocks, *decoder.resblocks, *decoder.cross_attn]) - key_value
    return Cost(
        encode=encode,
        memory=2.0 * image_tokens * key_value,
        weights=weights + decoder.text_projection.numel(),
        width=width,
        image_tokens=image_tokens,
        self_layers=len(text.resblocks) + len(decoder.resblocks),
        cross_layers=layers,
    )


def matrices(modules: Iterable[nn.Module]) -> int:
    """Return how many weights their matrices have."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters() if parameter.ndim == 2)


def image_work(visual: Any) -> tuple[int, float]:
    """Return how many image tokens come out of a vision transformer, and the operations per image."""
    positions, width = visual.positional_embedding.shape
    blocks = visual.transformer.resblocks
    patches = visual.grid_size[0] * visual.grid_size[1]
    flops = 2.0 * patches * visual.conv1.weight.numel() + 2.0 * positions * matrices(blocks)
    flops += 4.0 * len(blocks) * positions**2 * width
    pool = visual.attn_pool
    if pool is None:
        return patches, flops
    queries, out = pool.query.shape
    flops += 2.0 * queries * 2 * out * out + 2.0 * positions * 2 * out * width + 4.0 * queries * positions * out
    return queries, flops
