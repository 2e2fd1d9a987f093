"""The training loop: batches by position, a step, a record, a checkpoint; stopped at any moment, continued exactly."""

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from captioners.core.errors import InterruptedRunError, NeedsLookError, UserError
from captioners.data.batches import Batch, Batches
from captioners.training.checkpoint import Checkpoints
from captioners.training.metrics_log import MetricsLog
from captioners.training.objective import CoCaObjective, LossParts, Tune
from captioners.training.optimizer import (
    MAX_NORM,
    learning_rate,
    make_optimizer,
    set_learning_rate,
    trained_parameters,
)

_SHOWN_KEYS = 5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast a run learns, and how often it writes."""

    steps: int
    schedule: int | None = None
    """Steps after which the learning rate would be 0, where training ends before; absent: `steps`."""
    lr: float
    """Peak learning rate."""
    warmup: int
    """Steps of linear warm-up."""
    weight_decay: float
    tune: Tune = "all"
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    log_every: int = 10
    evaluate_every: int | None = None
    """Steps between evaluations; a checkpoint is written before each."""


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
    """Since the record before."""


class _Step(nn.Module):
    """What accelerate wraps: pixels and token ids to the parts of the loss."""

    def __init__(self, model: nn.Module, objective: CoCaObjective, normalised: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self._objective, self._normalised = objective, normalised

    def forward(self, pixels: Tensor, text: Tensor) -> LossParts:
        return self._objective(self.model, self._normalised(pixels), text)


class Trainer:
    """One training run of a CoCa.

    Args:
        model: open_clip's, trained in place.
        objective: what is minimised.
        batches: what is read, by position.
        normalised: from uint8 [B, 3, H, W] to what the model sees.
        plan: steps, learning rate, and how often to write.
        folder: where `checkpoints/` and `metrics.jsonl` stand.
        accelerator: device and precision.
        facts: JSON-able; what must be the same for a stopped run to go on.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: CoCaObjective,
        batches: Batches,
        normalised: Callable[[Tensor], Tensor],
        *,
        plan: Plan,
        folder: str | Path,
        accelerator: Accelerator,
        facts: Mapping[str, Any],
    ) -> None:
        self.model, self.objective, self.batches, self.plan = model, objective, batches, plan
        self.folder, self.accelerator, self.facts = Path(folder), accelerator, dict(facts)
        self.checkpoints = Checkpoints(self.folder / "checkpoints", plan.keep_checkpoints)
        self.folder.mkdir(parents=True, exist_ok=True)
        _refuse_dropout(model)
        model.to(accelerator.device).train()
        self.parameters = trained_parameters(model, objective.untrained(model, plan.tune))
        self._bare_optimizer = make_optimizer(self.parameters, weight_decay=plan.weight_decay)
        self.step = self._resume()
        """Steps done."""
        self.stopped_because = ""
        """Why an evaluation ended the run before its last step; empty if none did."""
        self._module: Any = accelerator.prepare(_Step(model, objective, normalised))
        self._optimizer: Any = accelerator.prepare(self._bare_optimizer)

    def run(
        self, show: Callable[[Record], None] = lambda _: None, evaluate: Callable[[int], str | None] | None = None
    ) -> None:
        """Train to the last step; `show` is called with every record, `evaluate` at its steps: a text ends the run.

        Raises:
            InterruptedRunError: SIGTERM or Ctrl-C; a checkpoint was written, and the same command goes on from it.
            NeedsLookError: the loss or the gradient is no number; the last checkpoint is as it was.
        """
        log = MetricsLog(self.folder / "metrics.jsonl", self.step)
        try:
            with _stop_signals() as stop, self._read(self.step) as batches:
                self._train(batches, stop, log, show, evaluate)
        finally:
            log.close()

    def _train(
        self,
        batches: Iterator[Batch],
        stop: list[str],
        log: MetricsLog,
        show: Callable[[Record], None],
        evaluate: Callable[[int], str | None] | None,
    ) -> None:
        plan, clock, since = self.plan, time.perf_counter(), self.step
        while self.step < plan.steps:
            if stop:
                self._save()
                raise InterruptedRunError(
                    f"{stop[0]}: stopped after step {self.step} of {plan.steps}; the checkpoint is in "
                    f"{self.checkpoints.folder}: run the same command again to go on"
                )
            batch = next(batches)
            rate = learning_rate(self.step, peak=plan.lr, warmup=plan.warmup, total=plan.schedule or plan.steps)
            values = self._one_step(batch, rate)
            self.step += 1
            if self.step % plan.log_every == 0 or self.step in (1, plan.steps):
                now = time.perf_counter()
                pace = (self.step - since) * len(batch.keys) / (now - clock)
                clock, since = now, self.step
                record = Record(step=self.step, lr=rate, samples_per_s=round(pace, 1), **values)
                log.write(vars(record))
                self.accelerator.log({k: v for k, v in vars(record).items() if k != "step"}, step=self.step)
                show(record)
            if self.step % plan.checkpoint_every == 0 or self.step == plan.steps:
                self._save()
            if evaluate and plan.evaluate_every and (self.step % plan.evaluate_every == 0 or self.step == plan.steps):
                self._save()
                self.model.eval()
                self.stopped_because = evaluate(self.step) or ""
                self.model.train()
                if self.stopped_because:
                    return

    def rehearse(self, step: int) -> None:
        """Compute the gradient of a step, from 0, and throw it away: what a step costs, without learning from it."""
        batch = self.batches.batch(step)
        parts = self._module(batch.pixels.to(self.accelerator.device), batch.text)
        self.accelerator.backward(parts.total)
        self._optimizer.zero_grad()
        parts.total.item()  # a GPU is done only now

    def keep_best(self, score: float) -> bool:
        """Keep the checkpoint of this step if its score is the best so far; return whether it is."""
        return self.checkpoints.keep_best(self.step, score)

    def _one_step(self, batch: Batch, rate: float) -> dict[str, float]:
        set_learning_rate(self._bare_optimizer, rate)
        # Token ids stay on the CPU: what their values decide is decided there, without waiting for a GPU.
        parts = self._module(batch.pixels.to(self.accelerator.device, non_blocking=True), batch.text)
        self.accelerator.backward(parts.total)
        norm = self.accelerator.clip_grad_norm_(list(self.parameters.values()), MAX_NORM)
        seen = torch.stack([parts.caption.detach(), parts.contrastive.detach(), parts.total.detach(), norm]).tolist()
        values = dict(zip(("caption", "contrastive", "total", "grad_norm"), seen, strict=True))
        if not all(map(math.isfinite, seen)):
            raise self._diverged(batch, values)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.objective.after_step(self.model)
        return values

    def _diverged(self, batch: Batch, values: Mapping[str, float]) -> NeedsLookError:
        file = self.folder / "diverged.json"
        shown = {name: str(value) for name, value in values.items()}
        file.write_text(json.dumps({"step": self.step + 1, **shown, "keys": batch.keys}, indent=1) + "\n")
        found = self.checkpoints.latest()
        kept = f"the checkpoint of step {found.step} is kept" if found else "no checkpoint was written yet"
        more = f" and {len(batch.keys) - _SHOWN_KEYS} more" if len(batch.keys) > _SHOWN_KEYS else ""
        return NeedsLookError(
            f"step {self.step + 1}: the loss or its gradient is no number (caption {values['caption']}, contrastive "
            f"{values['contrastive']}, gradient {values['grad_norm']}) on the batch of "
            f"{', '.join(batch.keys[:_SHOWN_KEYS])}{more} (all in {file}); {kept}. Look at these samples, or train "
            "afresh with a smaller lr"
        )

    def _save(self) -> None:
        self.checkpoints.save(self.step, self.model, self.parameters, self._bare_optimizer, {"facts": self.facts})

    def _resume(self) -> int:
        found = self.checkpoints.latest()
        if found is None:
            return 0
        for name, ours in self.facts.items():
            theirs = found.state.get("facts", {}).get(name)
            if theirs != ours:
                raise UserError(
                    f"{self.folder}: was begun with {name} {_short(theirs)}, and is to go on with {_short(ours)}; "
                    "name another output, or take back the change"
                )
        self.checkpoints.restore(found, self.model, self.parameters, self._bare_optimizer)
        return found.step

    @contextmanager
    def _read(self, start: int) -> Iterator[Iterator[Batch]]:
        """Yield the batches from step `start` on; for a GPU, each is made while the one before it is computed on."""
        steps = range(start, self.plan.steps)
        if self.accelerator.device.type == "cpu":  # no core is idle there
            yield map(self.batches.batch, steps)
            return
        with ThreadPoolExecutor(1) as pool:
            yield _ahead(pool, self.batches, steps)


def _ahead(pool: ThreadPoolExecutor, batches: Batches, steps: range) -> Iterator[Batch]:
    coming = pool.submit(batches.batch, steps[0]) if steps else None
    for step in steps:
        assert coming is not None
        batch = coming.result()
        coming = pool.submit(batches.batch, step + 1) if step + 1 in steps else None
        yield batch


@contextmanager
def _stop_signals() -> Iterator[list[str]]:
    """Yield a list that the first SIGTERM or Ctrl-C puts its name into; a second one acts as it always does."""
    asked: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread hears signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append("SIGTERM" if number == signal.SIGTERM else "Ctrl-C")
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse_dropout(model: nn.Module) -> None:
    for name, module in model.named_modules():
        kind = type(module).__name__
        if "Drop" in kind and any(isinstance(p := getattr(module, k, 0), float) and p > 0 for k in ("p", "prob")):
            raise UserError(
                f"{name} of this model drops out at random, which is not used here: a step is a function of its "
                "position; set it to 0 in the configuration"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
