"""The batches of a run in order, each made while the one before it is computed on where that costs no core."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from captioners.data.batches import Batch, Batches


@contextmanager
def reading(batches: Batches, steps: range, device: torch.device) -> Iterator[Iterator[Batch]]:
    """Yield the batches of these steps; for a GPU, each is made while the one before it is computed on."""
    if device.type == "cpu":  # no core is idle there
        yield map(batches.batch, steps)
        return
    with ThreadPoolExecutor(1) as pool:
        yield _ahead(pool, batches, steps)


def _ahead(pool: ThreadPoolExecutor, batches: Batches, steps: range) -> Iterator[Batch]:
    coming = pool.submit(batches.batch, steps[0]) if steps else None
    for step in steps:
        assert coming is not None
        batch = coming.result()
        coming = pool.submit(batches.batch, step + 1) if step + 1 in steps else None
        yield batch
