"""The token-level interface the engine drives: ids in, logits out, with the state of every row behind it."""

from typing import Protocol

import torch
from torch import Tensor


class StepModel(Protocol):
    """S row slots over M image memories; `models.coca_step.CoCaStep` is the real one, tests script fakes."""

    device: torch.device
    granularity: int
    """A step takes a multiple of this many rows."""
    slots: int
    memories: int
    vocab_size: int

    def remember(self, memory: int, tokens: Tensor) -> None:
        """Take the image tokens [N, D] of one image into memory slot `memory`."""

    def admit(self, slots: list[int], memory: int, start: int = 0) -> None:
        """Give slots to rows of that image, the first being its `start`-th; their age is 0."""

    def evict(self, slots: list[int]) -> None:
        """Take slots from their rows."""

    def reorder(self, targets: list[int], sources: list[int], age: int, *, move: bool = False) -> None:
        """Copy the first `age` positions of rows `sources` to rows `targets`; `move` carries the rows themselves."""

    def state(self) -> Tensor:
        """Return what a step changes besides caches, to `restore` it."""

    def restore(self, state: Tensor) -> None:
        """Undo the steps since `state` was taken."""

    def step(self, tokens: Tensor, oldest: int, memories: int, rows_per_memory: int) -> Tensor:
        """Feed one token to each of the first n slots; return the logits [n, V], float32."""
