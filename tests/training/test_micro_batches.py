import pytest
import torch

from captioners.training.micro_batches import find_micro_batch, free_bytes, halving, kept_bytes, split
from tests.training.batches import OWNERS, batch_of

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize("which", OWNERS)
@pytest.mark.parametrize("most", [1, 4, 6, 100])
def test_parts_are_the_batch(which, most):
    batch = batch_of(OWNERS[which])
    parts = split(batch, most)
    assert all(len(part.batch.keys) <= most for part in parts)
    assert sum((part.batch.keys for part in parts), ()) == batch.keys
    assert torch.equal(torch.cat([part.batch.pixels for part in parts]), batch.pixels)
    assert torch.equal(torch.cat([part.batch.text for part in parts]), batch.text)
    assert torch.equal(torch.cat([part.batch.owner + part.images.start for part in parts]), batch.owner)
    assert torch.equal(torch.cat([part.batch.images for part in parts]), batch.images)


def _fits(most):
    tried = []

    def trial(size):
        tried.append(size)
        if size > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    return trial, tried


def test_on_a_gpu_sizes_are_tried_from_the_largest_down():
    trial, tried = _fits(9)
    assert find_micro_batch(trial, 64, GPU) == 8
    assert tried == [64, 32, 16, 8]


def test_an_image_that_does_not_fit_is_an_error():
    trial, _ = _fits(0)
    with pytest.raises(torch.OutOfMemoryError):
        find_micro_batch(trial, 8, GPU)


def test_other_errors_are_not_taken_for_want_of_memory():
    def wrong(size):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        halving(wrong, 8, lambda size: None)


def test_on_a_cpu_what_an_image_keeps_is_counted(monkeypatch):
    weight = torch.ones(1000, requires_grad=True)
    asked = []

    def trial(size):
        asked.append(size)
        (torch.ones(size, 1000) * weight).exp().sum().backward()  # keeps the ones and what exp returned

    assert kept_bytes(lambda: trial(1)) == 8000
    monkeypatch.setattr("captioners.training.micro_batches.free_bytes", lambda: 8000 * 10)
    assert find_micro_batch(trial, 64, CPU) == 5  # half of what is free
    assert find_micro_batch(trial, 3, CPU) == 3
    assert asked == [1, 1, 1]


def test_free_memory_is_some():
    assert free_bytes() > 1 << 20
