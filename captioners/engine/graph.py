"""A step model whose step is replayed from a captured CUDA graph: one capture per number of rows and cache blocks.

Not measured on a GPU yet: written for it, run on none. Shapes are static there (a step always takes all slots and all
memories), so a caption's bits depend on the plan and not on its company.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captioners.engine.step_model import StepModel

_WARM_UP = 3
_ROUND_ROWS = 8


@dataclass
class _Capture:
    graph: Any
    tokens: Tensor
    logits: Tensor


class GraphedStep:
    """Wraps a step model on CUDA; everything but `step` is the wrapped model's own."""

    def __init__(self, model: StepModel, block: int = 32) -> None:
        self._model, self._block = model, block
        self.device, self.granularity = model.device, model.granularity
        self.slots, self.memories, self.vocab_size = model.slots, model.memories, model.vocab_size
        self.remember, self.admit, self.evict, self.reorder = model.remember, model.admit, model.evict, model.reorder
        self.state, self.restore = model.state, model.restore
        self._captures: dict[tuple[int, int, int], _Capture] = {}

    def step(self, tokens: Tensor, oldest: int, memories: int, rows_per_memory: int) -> Tensor:
        """Feed one token to each of the n slots; return the logits [n, V], valid until the next step."""
        del memories  # always all of them: a static shape
        blocks, rows = oldest // self._block + 1, -(-rows_per_memory // _ROUND_ROWS) * _ROUND_ROWS
        key = (tokens.shape[0], blocks, rows)
        if key not in self._captures:
            self._captures[key] = self._capture(tokens, blocks * self._block - 1, rows)
        capture = self._captures[key]
        capture.tokens.copy_(tokens)
        capture.graph.replay()
        return capture.logits

    def _capture(self, tokens: Tensor, oldest: int, rows: int) -> _Capture:
        """Warm up and capture. A step advances every row's age and writes its cache, so the state is put back."""
        static = tokens.clone()
        state = self._model.state()
        side: Any = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._model.step(static, oldest, self.memories, rows)
                self._model.restore(state)
        torch.cuda.current_stream(self.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self._model.step(static, oldest, self.memories, rows)
        self._model.restore(state)  # capturing runs nothing, but the warm-up did
        return _Capture(graph, static, logits)
