"""What happens around a run's steps: figures before the first, evaluations and a page between, a judgement after."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from captioners.core.progress import clock_time
from captioners.decoding.values import Beam, Sample
from captioners.images.preprocess import Preprocess
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.train.before import measure, refuse
from captioners.jobs.train.data import Data
from captioners.jobs.train.evaluation import Evaluator, Look, caption_loss
from captioners.jobs.train.page import ValImage, write_page
from captioners.jobs.train.start import Recipe, Start
from captioners.jobs.train.verdict import verdict
from captioners.training.loop import Record, Trainer
from captioners.training.shown import Shown

Progress = Shown
"""What is shown while a run trains."""
_PAGE_S = 10.0
"""Seconds at least between two writings of the page, evaluations apart."""


def evaluate_every(recipe: Recipe, data: Data, steps: int) -> int | None:
    """Return the steps between two evaluations, or None where there is none."""
    if recipe.evaluation is None or not len(data.val):
        return None
    if recipe.evaluation.every is not None:
        return recipe.evaluation.every
    return max(1, min(round(data.samples / recipe.batch_size), steps // 10))


class Watch:
    """Watches over one run: `train`, then `judge`, then `page`."""

    def __init__(
        self,
        recipe: Recipe,
        start: Start,
        data: Data,
        trainer: Trainer,
        preprocess: Preprocess,
        steps: int,
        show: Callable[[Shown], None],
        say: Callable[[str], None],
    ) -> None:
        self._recipe, self._start, self._data, self._trainer = recipe, start, data, trainer
        self._steps, self._show, self._say = steps, show, say
        self._answer = ""
        self._notes: list[str] = []
        self._where = f"{trainer.accelerator.device}, mixed precision: {trainer.accelerator.mixed_precision}"
        self._written = 0.0
        self.last: Record | None = None
        self._evaluator: Evaluator | None = None
        if trainer.plan.evaluate_every and recipe.evaluation is not None:
            val = data.val.first(recipe.evaluation.images)
            device = trainer.accelerator.device
            self._shown = [
                ValImage(key=val.keys[number], image=val.image(number), references=val.captions[number])
                for number in range(min(recipe.evaluation.shown, len(val)))
            ]
            self._evaluator = Evaluator(
                start,
                val,
                lambda: caption_loss(start, val, preprocess.normalised, device),
                trainer.folder,
                steps=trainer.step,
                device=str(device),
                patience=recipe.evaluation.patience,
                shown=recipe.evaluation.shown,
                writes=trainer.ranks.is_main,
            )

    def train(self) -> str:
        """Train to the end and put the best weights in place; return why it ended before its last step, if it did."""
        trainer = self._trainer
        if not trainer.step:
            self._before()
        try:
            trainer.run(self._record, self._evaluate if self._evaluator else None, self._say)
        finally:
            if trainer.ranks.is_main:
                self.page()
        reason = trainer.stopped_because or ""
        if reason:
            self._say(f"stopped after step {trainer.step:,} of {self._steps:,}: {reason}")
            self._notes.append(f"It ended early: {reason}.")
        best = trainer.restore_best() if self._evaluator else None
        if best is not None:
            self._say(f"the result is the checkpoint of step {best.step:,}, the best on val")
        return reason

    def judge(self) -> Mapping[str, Any]:
        """Compare the result with what it was made from, on test; return what its card says of it."""
        recipe = self._recipe
        if not len(self._data.test) or not isinstance(recipe, FinetuneRecipe):
            return {}
        self._say(f"did it get better? captioning {len(self._data.test):,} test images before and after")
        found = verdict(recipe, self._start, self._data.test, self._decoding(), self._trainer.folder, self._say)
        if found:
            self._answer = str(found["comparison"]["sentence"])
        return found

    def page(self, *, running: bool = True) -> None:
        """Write `training.html`."""
        self._written = time.monotonic()
        looks = self._evaluator.looks if self._evaluator else []
        write_page(
            self._trainer.folder,
            [asdict(look) for look in looks],
            self._shown if self._evaluator else [],
            steps=self._steps,
            numbers=self._numbers(),
            answer=self._answer,
            notes=self._notes,
            running=running,
        )

    def _before(self) -> None:
        """Look at the captioner as it is, and say what the run needs; raise UserError if that is too much."""
        trainer, evaluator = self._trainer, self._evaluator
        looks, seconds = 0, 0.0
        if evaluator is not None:
            began = time.perf_counter()
            trainer.model.eval()
            trainer.ranks.on_main(lambda: self._say_look(evaluator.look(0)))
            trainer.model.train()
            seconds = time.perf_counter() - began
            looks = self._steps // (trainer.plan.evaluate_every or 1)
        if self._recipe.max_hours is not None:
            needs = measure(
                self._recipe, trainer, trainer.folder, steps=self._steps, evaluations=looks, evaluation_s=seconds
            )
            trainer.ranks.on_main(lambda: refuse(needs, self._recipe.max_hours, self._say))

    def _record(self, record: Record) -> None:
        self.last = record
        self._show(Shown(record, self._steps))
        if time.monotonic() - self._written > _PAGE_S:
            self.page()

    def _evaluate(self, step: int) -> str | None:
        evaluator = self._evaluator
        assert evaluator is not None
        look = evaluator.look(step)
        self._trainer.keep_best(look.cider_d)
        values = {f"val/{name}": value for name, value in asdict(look).items() if isinstance(value, float)}
        self._trainer.accelerator.log(values, step=step)
        self._say_look(look)
        self.page()
        return evaluator.verdict()

    def _say_look(self, look: Look) -> None:
        self._say(
            f"val after step {look.step:,}: CIDEr-D {look.cider_d:.3f}, loss {look.loss:.3f}, "
            f"{look.distinct:.0%} of the captions are different, {look.length:.1f} words"
            + (f"; {look.captions[0]!r}" if look.captions else "")
        )

    def _decoding(self) -> Sample | Beam:
        return self._recipe.recommended_decoding or self._start.recommended

    def _numbers(self) -> dict[str, str]:
        recipe, data, last = self._recipe, self._data, self.last
        found = {
            "begun from": self._start.came_from.get("name", "random weights"),
            "images": f"{data.images:,} trained on, {len(data.val):,} val, {len(data.test):,} test",
            "captions": f"{data.captions:,} trained on, {data.cut:,} of them cut to the context",
            "steps": f"{self._steps:,} of {recipe.batch_size:,} images, {self._trainer.step:,} done",
            "learning rate": f"{recipe.lr:g}, cosine",
            "trained": recipe.tune,
            "device": self._where,
            "data licence": recipe.data_licence,
        }
        if last is not None and last.step < self._steps and last.samples_per_s:
            left = (self._steps - last.step) * recipe.batch_size / last.samples_per_s
            found["time left"] = f"about {clock_time(left)} at {last.samples_per_s:,.0f} images/s"
        return found
