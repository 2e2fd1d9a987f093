"""Shards to reinforce training with: what they hold, how they are read and written.

A student's trainer takes these from here; they load on first use, so that reading and writing shards needs no torch:

    from captioners.reinforcement import ReinforcedDataset, ReinforcedLoss, Sampling, StudentTransform, Teacher, collate
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captioners.reinforcement.augmentation import Augmentation
    from captioners.reinforcement.dataset import Batch, Example, ReinforcedDataset, StudentTransform, collate
    from captioners.reinforcement.index import Skipped
    from captioners.reinforcement.loss import Embeddings, Losses, ReinforcedLoss, Teacher
    from captioners.reinforcement.sampling import Sampling

__all__ = [
    "Augmentation", "Batch", "Embeddings", "Example", "Losses", "ReinforcedDataset", "ReinforcedLoss", "Sampling",
    "Skipped", "StudentTransform", "Teacher", "collate",
]  # fmt: skip

_FROM = {
    "augmentation": ("Augmentation",),
    "dataset": ("Batch", "Example", "ReinforcedDataset", "StudentTransform", "collate"),
    "index": ("Skipped",),
    "loss": ("Embeddings", "Losses", "ReinforcedLoss", "Teacher"),
    "sampling": ("Sampling",),
}


def __getattr__(name: str) -> Any:
    for module, names in _FROM.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
