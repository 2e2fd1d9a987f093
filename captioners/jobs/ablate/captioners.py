"""The captioners of an ablation: what is named is taken, what is to be fine-tuned is, if it is not there yet."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from captioners.core.errors import CaptionersError, InterruptedRunError, UserError
from captioners.core.options import meaning_of
from captioners.core.recipe import read_options
from captioners.jobs.ablate.book import Book
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.jobs.recipes.arms import Drawing, Trained
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.train.job import train
from captioners.kinds.kind import KindOptions
from captioners.training.shown import Shown

_LINES = 4
"""Lines that a training is told in."""


class Captioners:
    """Those of an ablation, each made once.

    Args:
        recipe: the ablation's. out: its folder; trainings are below `captioners/` there.
    """

    def __init__(self, recipe: AblateRecipe, out: Path, book: Book, say: Callable[[str], None]) -> None:
        self._recipe, self._out, self._book, self._say = recipe, out, book, say
        self.failed: dict[str, str] = {}
        """`Drawing.trained` -> why it cannot be had."""

    def make(self, members: Iterable[Drawing]) -> None:
        """Fine-tune what is missing; who cannot be is in `failed`, and the others go on.

        Raises InterruptedRunError where a training was stopped; the same command continues it.
        """
        for name, member in {member.trained: member for member in members}.items():
            given = self._recipe.captioners[member.captioner]
            if not isinstance(given, Trained):
                continue
            try:
                self._train(name, finetune_recipe(given, member, folder_of(self._out, name)))
            except InterruptedRunError:
                raise
            except CaptionersError as error:
                self.failed[name] = f"captioner {name}: {error}"
                self._say(f"  {self.failed[name]}")

    def of(self, member: Drawing) -> str | KindOptions:
        """Return what a member of `generate` names."""
        given = self._recipe.captioners[member.captioner]
        return str(folder_of(self._out, member.trained) / "captioner") if isinstance(given, Trained) else given

    def _train(self, name: str, recipe: FinetuneRecipe) -> None:
        folder = Path(str(recipe.output))
        if (folder / "captioner").is_dir():
            before = read_options(FinetuneRecipe, folder / "recipe.yaml")
            if meaning_of(before) != meaning_of(recipe):
                raise UserError(
                    f"{folder} was trained by another recipe; remove it, or give the captioner another name"
                )
            return

        def shown(progress: Shown) -> None:
            record, steps = progress.record, progress.steps
            if record.step * _LINES // steps > (record.step - recipe.log_every) * _LINES // steps:
                left = (steps - record.step) * recipe.batch_size / record.samples_per_s
                self._say(f"  step {record.step:,} of {steps:,}: caption loss {record.caption:.2f}, {left:,.0f} s left")

        with self._book.part(f"captioner {name}"):
            train(recipe, shown, lambda line: self._say(f"  {line}"))


def folder_of(out: Path, trained: str) -> Path:
    """Return the folder of a training."""
    return out / "captioners" / trained


def finetune_recipe(given: Trained, member: Drawing, folder: Path) -> FinetuneRecipe:
    """Return the recipe that a captioner is fine-tuned by; raise UserError for one that is none, or a wrong change."""
    changes = {**given.changes, "output": str(folder)}
    if member.captioner_seed is not None:
        changes["seed"] = member.captioner_seed
    return read_options(
        FinetuneRecipe, given.finetune, [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    )
