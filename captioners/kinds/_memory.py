"""How much memory a CoCa takes: its weights and so many rows of caches; for its plan, and for who fits beside it."""

from typing import Any

import torch

from captioners.engine.plan import CPU_SLOTS, GPU_SLOTS, Plan, plan
from captioners.models.arithmetic import TILE
from captioners.models.coca import LoadedCoCa
from captioners.models.coca_step import BLOCK

_IMAGE_TOKENS = 256
"""Of an attentional pooler; a plan may be generous."""
_BUSY = {"cpu": TILE, "cuda": 4 * TILE}
"""Rows with which a captioner beside others is still worth its place: fewer read the weights for too few."""
_WORKSPACE = {"cpu": 1 << 28, "cuda": 1 << 29}


class CocaMemory:
    """Bytes of one loaded CoCa on a device.

    Args:
        loaded: the model. device: where it runs. dtype: of products and caches. exact: rows come in tiles.
    """

    def __init__(self, loaded: LoadedCoCa, device: torch.device, dtype: torch.dtype, exact: bool) -> None:
        model: Any = loaded.model
        self._device = device.type
        size = 2 if dtype is torch.bfloat16 else 4
        width, layers = int(model.text_decoder.width), int(model.text_decoder.layers)
        positions = -(-loaded.context_length // BLOCK) * BLOCK
        # Cross-attention keys and values, and the tokens that they are made of while others still wait for them.
        self.image = _IMAGE_TOKENS * width * (2 * layers * size + 4)
        depth = layers + int(model.text.transformer.layers)
        self.row = 2 * depth * positions * width * size + 40 * int(model.text.vocab_size)
        self.granularity = TILE if exact or self._device == "cuda" else 1
        self.tower = _bytes(model.visual)
        # The vocabulary is kept a second time, row by row, and with bf16 all matrices of the text side are.
        vocabulary = int(model.text.vocab_size)
        copies = vocabulary * width * size
        self.weights = _bytes(model) - self.tower + copies
        self.weights += (_bytes(model) - self.tower) // 2 if dtype is torch.bfloat16 else 0

    @property
    def busy(self) -> int:
        """Bytes besides weights with which it is worth its place in a pass of several captioners."""
        return _WORKSPACE[self._device] + _BUSY[self._device] * (self.image + self.row)

    def plan(self, budget: int, own_tower: bool) -> Plan:
        """Return the largest plan within `budget` bytes; weights count on a GPU alone, for a CPU maps their file."""
        on_gpu = self._device == "cuda"
        return plan(
            budget,
            weights=self.weights + (self.tower if own_tower else 0) if on_gpu else 0,
            image_bytes=self.image,
            row_bytes=self.row,
            granularity=self.granularity,
            most_slots=GPU_SLOTS if on_gpu else CPU_SLOTS,
            workspace=_WORKSPACE[self._device],
        )


def _bytes(module: Any) -> int:
    return int(sum(p.numel() * p.element_size() for p in module.parameters()))
