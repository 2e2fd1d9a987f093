"""The image tower with exact arithmetic: open_clip's own modules, linear maps swapped for ones that ignore company.

The copy shares every tensor with the original. Images go through one at a time, which costs nothing on a CPU (257
tokens fill it).
"""

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioners.models.arithmetic import MAX_THREADS, exact_gelu, exact_rows


class _Linear(nn.Module):
    def __init__(self, of: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = of.weight, of.bias

    def forward(self, x: Tensor) -> Tensor:
        return exact_rows(x.flatten(0, -2), self.weight, self.bias).reshape(*x.shape[:-1], -1)


class _GELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return exact_gelu(x)


class _PatchEmbedding(nn.Module):
    """A convolution whose kernel equals its stride, as one product per image."""

    def __init__(self, of: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias, self.size = of.weight, of.bias, of.kernel_size

    def forward(self, x: Tensor) -> Tensor:
        patches = F.unfold(x, self.size, stride=self.size)[0].T  # [P, 3 * h * w]
        rows, columns = x.shape[2] // self.size[0], x.shape[3] // self.size[1]
        return exact_rows(patches, self.weight.flatten(1), self.bias).T.reshape(1, -1, rows, columns)


class _Attention(nn.Module):
    """`nn.MultiheadAttention` (batch first, no mask, no dropout) for one image."""

    def __init__(self, of: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads, self.of = of.num_heads, [of]  # in a list, so that it is no submodule and is not swapped again

    def forward(self, q: Tensor, k: Tensor, v: Tensor, **_: Any) -> tuple[Tensor, None]:
        of, width = self.of[0], q.shape[-1]
        biases = (None, None, None) if of.in_proj_bias is None else torch.split(of.in_proj_bias, width)
        if q is k and k is v:
            whole = torch.split(exact_rows(q[0], of.in_proj_weight, of.in_proj_bias), width, dim=1)
        elif of.in_proj_weight is not None:
            whole = _each((q, k, v), torch.split(of.in_proj_weight, width), biases)
        else:
            whole = _each((q, k, v), (of.q_proj_weight, of.k_proj_weight, of.v_proj_weight), biases)
        query, key, value = (part.view(part.shape[0], self.heads, -1).transpose(0, 1)[None] for part in whole)
        mixed = F.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1).flatten(1)
        return exact_rows(mixed, of.out_proj.weight, of.out_proj.bias)[None], None


def _each(inputs: tuple[Tensor, ...], weights: tuple[Tensor, ...], biases: tuple[Any, ...]) -> tuple[Tensor, ...]:
    return tuple(exact_rows(x[0], weight, bias) for x, weight, bias in zip(inputs, weights, biases, strict=True))


def _swap(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.MultiheadAttention):
        if not module.batch_first or module.bias_k is not None or module.add_zero_attn:
            raise NotImplementedError(
                "attention with bias_k, zero attention or sequence-first layout has no exact form"
            )
        return _Attention(module)
    if isinstance(module, nn.Linear):
        return _Linear(module)
    if isinstance(module, nn.GELU) and module.approximate == "none":
        return _GELU()
    if isinstance(module, nn.Conv2d) and module.kernel_size == module.stride and module.padding in ((0, 0), "valid"):
        return _PatchEmbedding(module)
    for name, child in module.named_children():
        setattr(module, name, _swap(child))
    return module


def exact_tower(visual: nn.Module) -> nn.Module:
    """Return a copy of an image tower that shares its tensors and computes each image exactly; takes batches of one."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*visual.parameters(), *visual.buffers())}
    return _swap(copy.deepcopy(visual, shared))


def encode_batch() -> int:
    """Return how many images at a time keep `encode_exactly` busy."""
    return min(torch.get_num_threads(), MAX_THREADS)


def encode_exactly(tower: nn.Module, images: Tensor) -> Tensor:
    """Return the decoder's image tokens [B, N, D] of images [B, 3, H, W], each by itself through an `exact_tower`.

    Several images share the threads out instead of joining them in every product: the bits are the same, and a thread
    waits for no other.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(images))

    @torch.inference_mode()  # of the thread that calls it
    def encode(image: Tensor) -> Tensor:
        tokens: Tensor = tower(image[None])[1]
        return tokens

    if workers < 2:
        return torch.cat([encode(image) for image in images])
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,)) as pool:
            return torch.cat(list(pool.map(encode, images)))
    finally:
        torch.set_num_threads(threads)  # a worker's setting is also what threads begun later start with
