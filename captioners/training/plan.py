"""How a training run goes, as values: how long, how fast, in what pieces; and what it tells of each step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from captioners.training.objective import Tune

MicroBatch = int | Literal["auto", "whole"]
"""Images that go through the model at once: a number, as many as fit (found by trying), or a rank's whole batch."""
Evaluate = Callable[[int], str | None]
"""Called after a step that was checkpointed; a returned text ends the training, which says so."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast a run learns, and how often it writes."""

    steps: int
    lr: float
    """Peak learning rate."""
    warmup: int
    """Steps of linear warm-up."""
    weight_decay: float
    schedule_steps: int | None = None
    """Steps after which the cosine would reach 0; None: `steps`. More than `steps` stops on the way down."""
    tune: Tune = "all"
    micro_batch: MicroBatch = "whole"
    checkpoint_activations: Literal["none", "blocks"] = "none"
    """blocks: keep each residual block's input alone and compute the rest again: less memory, a third more work."""
    compile: Literal["none", "blocks"] = "none"
    """blocks: run residual blocks through torch.compile; the first steps take minutes."""
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    evaluate_every: int | None = None
    log_every: int = 10


@dataclass(frozen=True, kw_only=True)
class Record:
    """One step, as it is shown and written to `metrics.jsonl`; losses in nats, unweighted but for `total`."""

    step: int
    """Steps done, from 1."""
    caption: float
    contrastive: float
    total: float
    lr: float
    grad_norm: float
    """Before clipping."""
    samples_per_s: float
    """Since the record before; images of all processes."""
