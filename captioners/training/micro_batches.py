"""A rank's batch in micro-batches of whole images with their captions, and how many images such a one may have."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor

from captioners.data.batches import Batch

_T = TypeVar("_T")
_SHARE = 0.5
"""Of the free memory, what activations may take where too much of them ends the process."""


@dataclass(frozen=True)
class MicroBatch:
    """Some images of a batch, all their captions, and where both stand in it."""

    batch: Batch
    """Its `owner` counts from this part's first image."""
    images: slice
    captions: slice


def owner_of(batch: Batch) -> Tensor:
    """Return the image of each caption, int64 [R] on the CPU."""
    return torch.arange(len(batch.text)) if batch.owner is None else batch.owner


def split(batch: Batch, most: int) -> list[MicroBatch]:
    """Return a batch in parts of at most `most` images each."""
    owner, parts = owner_of(batch), []
    starts = range(0, len(batch.keys), most)
    for start in starts:
        end = min(start + most, len(batch.keys))
        first, last = (int(at) for at in torch.searchsorted(owner, torch.tensor([start, end])))
        part = Batch(
            keys=batch.keys[start:end],
            pixels=batch.pixels[start:end],
            text=batch.text[first:last],
            owner=owner[first:last] - start,
            images=None if batch.images is None else batch.images[start:end],
        )
        parts.append(MicroBatch(part, slice(start, end), slice(first, last)))
    return parts


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device (or the CPU's allocator) had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, Exception) and bool(should_reduce_batch_size(error))
    )


def halving(work: Callable[[int], _T], size: int, halved: Callable[[int], None]) -> _T:
    """Return `work(size)`; each time memory runs out, halve the size, tell it to `halved`, and try again.

    A single image that does not fit raises what it raised.
    """
    while True:
        try:
            return work(size)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        # Past the except clause, for the error holds the frames that hold the tensors.
        size = (size + 1) // 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        halved(size)


def find_micro_batch(trial: Callable[[int], None], most: int, device: torch.device) -> int:
    """Return how many images go through the model at once, at most `most`, by trying.

    Args:
        trial: runs a forward and a backward pass of so many images with captions as long as they get; its gradients
            are not used.
        most: a rank's share of the batch.
        device: on a GPU, sizes are tried from `most` down by halves. On a CPU too much memory ends the process, so one
            image is run, what it keeps for the backward pass is counted, and half of the free memory is divided by it.
    """
    if device.type != "cpu":
        found = [most]
        halving(trial, most, found.append)
        return found[-1]
    each = kept_bytes(lambda: trial(1))
    return max(1, min(most, int(_SHARE * free_bytes() / max(each, 1))))


def kept_bytes(work: Callable[[], None]) -> int:
    """Return the bytes of all tensors that `work` keeps for backward passes, weights left out."""
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not (tensor.is_leaf and tensor.requires_grad):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return sum(seen.values())


def free_bytes() -> int:
    """Return the memory that a process can get here without pushing others out."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        return 4 << 30  # not Linux: a modest machine
