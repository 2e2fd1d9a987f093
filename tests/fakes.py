"""Scripted stand-ins, so that an engine's bookkeeping can be tested without a model."""

import torch
from torch import Tensor


class ScriptedModel:
    """A step model whose logits are a function of (image number, row of that image, tokens fed so far).

    It keeps every row's tokens itself, moves them as it is told, and refuses what a real step model could not do.
    """

    def __init__(self, script, *, slots: int, memories: int, vocab_size: int = 8, granularity: int = 1) -> None:
        self.device, self.granularity = torch.device("cpu"), granularity
        self.slots, self.memories, self.vocab_size = slots, memories, vocab_size
        self.script = script
        self.images: dict[int, int] = {}
        self.rows: dict[int, tuple[int, int, list[int]]] = {}
        """slot -> (image number, row, tokens fed)."""
        self.owners: dict[int, int] = {}
        """slot -> memory."""
        self.sizes: list[int] = []
        """Rows of each step, idle ones included."""
        self.owned: list[int] = []
        self.remembered: list[int] = []
        self.moves = 0

    def remember(self, memory: int, tokens: Tensor) -> None:
        number = int(tokens[0, 0])
        assert 0 <= memory < self.memories
        assert memory not in self.owners.values(), "memory is in use"
        self.images[memory] = number
        self.remembered.append(number)

    def admit(self, slots: list[int], memory: int, start: int = 0) -> None:
        for row, slot in enumerate(slots, start=start):
            assert slot not in self.rows
            self.rows[slot] = (self.images[memory], row, [])
            self.owners[slot] = memory

    def evict(self, slots: list[int]) -> None:
        for slot in slots:
            del self.rows[slot], self.owners[slot]

    def reorder(self, targets: list[int], sources: list[int], age: int, *, move: bool = False) -> None:
        taken = [self.rows[source] for source in sources]
        assert all(len(fed) <= age for _, _, fed in taken)
        for target, source, (image, _, fed) in zip(targets, sources, taken, strict=True):
            if move:
                assert target not in self.rows
                self.rows[target] = self.rows.pop(source)
                self.owners[target] = self.owners.pop(source)
            else:
                assert self.rows[target][0] == image, "beams stay with their image"
                self.rows[target] = (image, self.rows[target][1], list(fed))
        self.moves += move

    def step(self, tokens: Tensor, oldest: int, memories: int, rows_per_memory: int) -> Tensor:
        n = len(tokens)
        assert n % self.granularity == 0
        assert all(slot < n for slot in self.rows)
        assert oldest >= max(len(fed) for _, _, fed in self.rows.values())
        self.sizes.append(n)
        self.owned.append(len(self.rows))
        logits = torch.zeros(n, self.vocab_size)
        for slot, (image, row, fed) in self.rows.items():
            assert row < rows_per_memory
            fed.append(int(tokens[slot]))
            logits[slot] = torch.as_tensor(self.script(image, row, tuple(fed)), dtype=torch.float32)
        return logits
