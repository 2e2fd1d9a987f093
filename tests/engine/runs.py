"""Jobs over a real model, for the tests of what an engine writes."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from captioners.core.seeds import Stream
from captioners.decoding.values import Beam, Sample
from captioners.engine.engine import Engine
from captioners.engine.job import Finished, Job
from captioners.models.arithmetic import Arithmetic, Exact
from captioners.models.coca_step import CoCaStep
from captioners.models.tower import encode_exactly
from tests.models.tiny import images


def job(
    key: int,
    decoding: Sample | Beam,
    *,
    draws: int = 1,
    limit: int = 6,
    prompt: tuple[int, ...] = (),
    image: Tensor | None = None,
    size: int = 32,
) -> Job:
    """Image number `key`, with the random numbers that belong to it."""
    uniforms = None
    if isinstance(decoding, Sample):
        stream = Stream(0, hashlib.sha256(str(key).encode()).hexdigest())
        uniforms = torch.stack([torch.from_numpy(stream.uniforms(draw, 0, limit)) for draw in range(draws)])
    if image is None:
        image = images(1, size, seed=key)[0]
    return Job(key=key, image=image, draws=draws, decoding=decoding, limit=limit, prompt=prompt, uniforms=uniforms)


def run(
    model,
    jobs: Iterable[Job],
    *,
    slots: int,
    memories: int,
    length: int = 8,
    arithmetic: Arithmetic | None = None,
    look_every: int = 1,
) -> dict[tuple[int, int], Finished]:
    """Every caption by (key, draw), through a fresh engine; images go through the exact tower."""
    arithmetic = arithmetic or Exact()
    step = CoCaStep(model, slots=slots, memories=memories, max_tokens=length, arithmetic=arithmetic)
    vocabulary = step.vocab_size
    engine = Engine(
        step,
        lambda batch: encode_exactly(model.visual, batch),
        start_id=vocabulary - 2,
        end_id=vocabulary - 1,
        length=length,
        look_every=look_every,
    )
    found: dict[tuple[int, int], Finished] = {}
    for caption in engine.run(jobs):
        assert (caption.key, caption.draw) not in found
        found[caption.key, caption.draw] = caption
    return found


def bits(caption: Finished) -> tuple[tuple[int, ...], str, bool]:
    return caption.tokens, caption.logprob.hex(), caption.ended


def different(one: dict, other: dict) -> list[tuple[int, int]]:
    """What both wrote, but not to the same bits."""
    return [which for which in one.keys() & other.keys() if bits(one[which]) != bits(other[which])]
