"""The image tower with exact arithmetic: open_clip's own forward pass, each image by itself on one thread.

What one thread computes of one image at one shape cannot depend on batch, order or thread count, and the threads are
busy with an image each, which is also faster than sharing out every product. A lone image waits for its one thread.
"""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn


def encode_exactly(visual: nn.Module, images: Tensor) -> Tensor:
    """Return the decoder's image tokens [B, N, D] of images [B, 3, H, W] through open_clip's image tower of a CoCa."""
    threads = torch.get_num_threads()

    @torch.inference_mode()  # a setting of the thread that calls it
    def encode(image: Tensor) -> Tensor:
        tokens: Tensor = visual(image[None])[1]
        return tokens

    try:
        with ThreadPoolExecutor(min(threads, len(images)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return torch.cat(list(pool.map(encode, images)))
    finally:
        torch.set_num_threads(threads)  # a worker's setting is also what threads begun later start with
