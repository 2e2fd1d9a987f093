"""The training loop: batches by position, a step, a record, a checkpoint; stopped at any moment, continued exactly.

On several processes each reads its share of a step's batch; the main one alone writes. Before each step all of them say
what they bring, and whether one was asked to stop or could not read: so they go on together or stop together.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from captioners.core.errors import CaptionersError, InterruptedRunError, UserError
from captioners.data.batches import Batch, Batches
from captioners.models.coca_blocks import Blocks
from captioners.training.agreement import agree
from captioners.training.checkpoint import Checkpoints, Found
from captioners.training.divergence import diverged
from captioners.training.gradients import Count, GlobalGradient, Images, Losses
from captioners.training.interruption import stop_signals
from captioners.training.metrics_log import Reporter
from captioners.training.micro_batches import find_micro_batch
from captioners.training.objective import CoCaObjective
from captioners.training.optimizer import (
    MAX_NORM,
    learning_rate,
    make_optimizer,
    set_learning_rate,
    trained_parameters,
)
from captioners.training.plan import Evaluate, Plan, Record
from captioners.training.ranks import Ranks
from captioners.training.reading import reading
from captioners.training.watch import LossWatch

__all__ = ["Plan", "Record", "Trainer"]


class Trainer:
    """One training run of a CoCa, or one process's part of it.

    Args:
        model: open_clip's, trained in place.
        objective: what is minimised.
        batches: what is read, by position; on several processes, this one's share.
        images: what the model sees: a function of uint8 [B, 3, H, W], or features cached of a frozen image tower.
        plan: steps, learning rate, and how often to write.
        folder: where `checkpoints/`, `metrics.jsonl` and `events.jsonl` stand.
        ranks: the processes, and the accelerator: device and precision.
        facts: JSON-able; what must be the same for a stopped run to go on.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: CoCaObjective,
        batches: Batches,
        images: Images,
        *,
        plan: Plan,
        folder: str | Path,
        ranks: Ranks,
        facts: Mapping[str, Any],
    ) -> None:
        self.model, self.objective, self.batches, self.plan = model, objective, batches, plan
        self.folder, self.facts = Path(folder), dict(facts)
        self.ranks, self.accelerator = ranks, ranks.accelerator
        if objective.contrastive_weight and objective.contrastive_gradient == "open_clip_default":
            self.facts["processes"] = self.ranks.world  # the gradient depends on it
        self.checkpoints = Checkpoints(self.folder / "checkpoints", plan.keep_checkpoints)
        self.folder.mkdir(parents=True, exist_ok=True)
        _refuse_dropout(model)
        model.to(self.accelerator.device).train()
        self.parameters = trained_parameters(model, objective.untrained(model, plan.tune))
        self._optimizer = make_optimizer(self.parameters, weight_decay=plan.weight_decay)
        found = self._resume()
        state = found.state if found else {}
        self.step = found.step if found else 0
        """Steps done."""
        self.stopped_because: str | None = None
        """What an evaluation said when it ended the training."""
        self._watch = LossWatch(state.get("watch"))
        self._untold = False
        self.gradient = GlobalGradient(
            model,
            objective,
            self.parameters,
            images,
            ranks=self.ranks,
            micro_batch=int(state.get("micro_batch", 0)) if plan.micro_batch == "auto" else 0,  # 0: not known yet
            blocks=Blocks(plan.checkpoint_activations == "blocks", plan.compile == "blocks"),
        )

    def run(
        self,
        show: Callable[[Record], None] = lambda _: None,
        evaluate: Evaluate | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Train to the last step, or until an evaluation ends it (`stopped_because`).

        `show` is called with every record, `evaluate` every `plan.evaluate_every` steps and after the last one, `say`
        with what happens between; all of them on the main process alone.

        Raises:
            InterruptedRunError: SIGTERM or Ctrl-C; a checkpoint was written, and the same command goes on from it. Or
                another process failed.
            NeedsLookError: the loss explodes, or it or its gradient is no number; the last checkpoint is as it was.
        """
        told = Reporter(self.folder, self.step, show, say, writes=self.ranks.is_main)
        try:
            if self.step and self._evaluated(evaluate):
                return
            steps = range(self.step, self.plan.steps)
            with stop_signals() as stop, reading(self.batches, steps, self.accelerator.device) as batches:
                self._train(batches, stop, told, evaluate)
        finally:
            told.close()

    def keep_best(self, score: float) -> bool:
        """Keep the last checkpoint as the best if `score` is the highest so far; for `evaluate` to call."""
        return self.checkpoints.keep_best(self.step, score)

    def restore_best(self) -> Found | None:
        """Put the best checkpoint's weights into the model, on every process; None if none was kept."""
        best = self.checkpoints.best()
        if best is not None:
            self.checkpoints.load_weights(best, self.model)
        return best

    def rehearse(self, steps: int = 20) -> float:
        """Return the seconds of a step, over some steps of the run's own first batches that leave no trace.

        The learning rate is 0, and the optimizer forgets. Going on with a run, the optimizer's part is left out.
        """
        coming = [self.batches.batch(step) for step in range(self.step, self.step + steps)]
        self._know_micro_batch(coming[0])
        set_learning_rate(self._optimizer, 0.0)
        clock = 0.0
        for number, batch in enumerate(coming):
            clock = time.perf_counter() if number == min(1, steps - 1) else clock  # the first one warms up
            self.gradient(batch, self.ranks.told(Count.of(batch)))
            norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), MAX_NORM))
            if not self.step and math.isfinite(norm):  # else its moments would spoil the weights at any learning rate
                self._optimizer.step()
            self._optimizer.zero_grad()
        if not self.step:
            self._optimizer.state.clear()
        return (time.perf_counter() - clock) / max(1, steps - 1)

    def _train(self, batches: Iterator[Batch], stop: list[str], told: Reporter, evaluate: Evaluate | None) -> None:
        plan, clock, since = self.plan, time.perf_counter(), 0
        while self.step < plan.steps:
            agreed = agree(self.ranks, batches, stop)
            if isinstance(agreed, str):
                raise self._interrupted(agreed)
            batch, counts = agreed
            self._know_micro_batch(batch)
            self._tell_micro_batch(batch, told.event)
            rate = learning_rate(self.step, peak=plan.lr, warmup=plan.warmup, total=plan.schedule_steps or plan.steps)
            losses, norm = self._one_step(batch, counts, rate)
            self.step += 1
            since += sum(count.images for count in counts)
            if self.step % plan.log_every == 0 or self.step in (1, plan.steps):
                now = time.perf_counter()
                record = Record(
                    step=self.step,
                    lr=rate,
                    grad_norm=norm,
                    samples_per_s=round(since / (now - clock), 1),
                    **vars(losses),
                )
                clock, since = now, 0
                self.accelerator.log({k: v for k, v in vars(record).items() if k != "step"}, step=self.step)
                told.record(record)
            last = self.step == plan.steps
            due = self.step % plan.checkpoint_every == 0 or self._is_evaluated(evaluate)
            if last or (due and not self._watch.is_suspicious):
                self._save()
            if self._evaluated(evaluate):
                return

    def _interrupted(self, signal: str) -> CaptionersError:
        if not self._watch.is_suspicious:
            self._save()
        error = InterruptedRunError(
            f"{signal}: stopped after step {self.step} of {self.plan.steps}; the checkpoint is in "
            f"{self.checkpoints.folder}: run the same command again to go on"
        )
        return self.ranks.in_common(error)

    def _one_step(self, batch: Batch, counts: list[Count], rate: float) -> tuple[Losses, float]:
        set_learning_rate(self._optimizer, rate)
        losses = self.gradient(batch, counts)
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), MAX_NORM))
        wrong = self._watch.see(losses.total, norm)
        if wrong is not None:
            values = {**vars(losses), "grad_norm": norm}
            raise diverged(self.folder, self.step + 1, wrong, values, self.gradient.blamed(batch), self.ranks)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.objective.after_step(self.model)
        return losses, norm

    def _tell_micro_batch(self, batch: Batch, event: Callable[..., None]) -> None:
        """Tell of a micro-batch that was found, and from now on of each that had to be halved."""
        gradient = self.gradient
        gradient.halved = lambda size: event(
            self.step, f"out of memory: the micro-batch is now {size} images", micro_batch=size
        )
        if self._untold:
            size, self._untold = gradient.micro_batch, False
            event(self.step, f"micro-batch: {size} of {len(batch.keys)} images at once", micro_batch=size)

    def _know_micro_batch(self, batch: Batch) -> None:
        """Settle how many images go through the model at once, once."""
        gradient = self.gradient
        if gradient.micro_batch:
            return
        asked = self.plan.micro_batch
        if asked != "auto":
            gradient.micro_batch = len(batch.keys) if asked == "whole" else asked
            return
        # All batches are as large, but not all captions as long: those of the trial fill the context.
        coca: Any = self.model
        longest = batch.text.new_ones(len(batch.text), coca.text.context_length)
        worst = Batch(batch.keys, batch.pixels, longest, batch.owner, batch.images)
        # The optimizer's two moments come with the first step.
        moments = [] if self._optimizer.state else [torch.empty_like(p) for p in self.parameters.values() for _ in "mv"]
        found = find_micro_batch(lambda size: gradient.trial(worst, size), len(batch.keys), self.accelerator.device)
        del moments
        gradient.micro_batch = min(self.ranks.told(found))
        self._untold = True

    def _is_evaluated(self, evaluate: Evaluate | None) -> bool:
        """Whether an evaluation follows this step."""
        every = self.plan.evaluate_every
        return evaluate is not None and every is not None and (self.step % every == 0 or self.step == self.plan.steps)

    def _evaluated(self, evaluate: Evaluate | None) -> bool:
        """Evaluate if it is time to, unless that was done before the run was stopped; return whether to end."""
        if not self._is_evaluated(evaluate) or (self._watch.is_suspicious and self.step < self.plan.steps):
            return False

        def work() -> str | None:
            assert evaluate is not None
            done, said = self.checkpoints.evaluation(self.step)
            if not done:
                self.model.eval()
                try:
                    with torch.no_grad():
                        said = evaluate(self.step)
                finally:
                    self.model.train()
                self.checkpoints.mark_evaluated(self.step, said)
            return said

        self.stopped_because = self.ranks.on_main(work)
        return self.stopped_because is not None

    def _save(self) -> None:
        state = {"facts": self.facts, "micro_batch": self.gradient.micro_batch, "watch": self._watch.state()}
        self.ranks.on_main(
            lambda: str(self.checkpoints.save(self.step, self.model, self.parameters, self._optimizer, state))
        )

    def _resume(self) -> Found | None:
        found = self.checkpoints.latest()
        if found is None:
            return None
        for name, ours in self.facts.items():
            theirs = found.state.get("facts", {}).get(name)
            if theirs != ours:
                raise UserError(
                    f"{self.folder}: was begun with {name} {_short(theirs)}, and is to go on with {_short(ours)}; "
                    "name another output, or take back the change"
                )
        self.checkpoints.restore(found, self.model, self.parameters, self._optimizer)
        return found


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
