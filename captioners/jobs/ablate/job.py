"""Ablate captions: make, measure and probe what captioners, numbers and decodings give; only what is missing is done.

runs/ablate-1a2b3c/
    recipe.yaml        what is done, everything written out
    ablation.html      the page, from the first arm on
    ablation.json      what was found: the page and every export are made of it
    declared.json      what was declared when the first probe began
    captioners/NAME/   trainings; the captioner is `captioner/` in it
    captions/          a run of `generate`: every captioner and decoding once, as many captions as any arm takes
    captioned-DIGEST/  the same as captioned shards; reinforced-DIGEST/: with augmentations and embeddings
    teacher/           with `teachers: oracle` only
    probe/             students, arm by arm and seed by seed; used.jsonl has those that the page rests on
    book.json          how long the parts took; budget.json: the mix that gains most per second, where it is asked for

A DIGEST stands for what went in: an arm that changes it gets new shards, and what was made before stays for you to
remove. The same command resumes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from captioners.core.processes import alone
from captioners.core.progress import Progress
from captioners.core.recipe import resolved
from captioners.core.stopping import STAYS, resumable, stoppable
from captioners.jobs.ablate import folder
from captioners.jobs.ablate.arms import Arms
from captioners.jobs.ablate.book import Book
from captioners.jobs.ablate.captioners import Captioners
from captioners.jobs.ablate.captions import Maker
from captioners.jobs.ablate.students import probe_arms
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.report.ablation import Ablation


@dataclass(frozen=True)
class AblateRun:
    """What a start of an ablation did."""

    directory: Path
    page: Path
    ablation: Ablation
    failed: dict[str, str]
    """Arm -> why it could not be made, measured or probed."""
    unheld: tuple[str, ...] = ()
    """Controls that did not come out as known."""


def ablate(
    recipe: AblateRecipe,
    *,
    name: str = "ablate",
    say: Callable[[str], None] = lambda _: None,
    show: Callable[[Progress], None] = lambda _: None,
) -> AblateRun:
    """Do what is missing of an ablation, and return what is found.

    An arm that cannot be had does not stop the others: it stands in the result with its reason.

    Args:
        name: of the recipe, for the run's folder. say: told in lines what happens. show: how far the captioning is.

    Raises:
        UserError: the folder holds something else, or another process works in it.
        NeedsLookError: too many images cannot be read. InterruptedRunError: stopped; the same command continues.
    """
    out = folder.output_of(recipe, name)
    folder.make(out)
    with stoppable(), alone(out, f"{out}: another process works here"), resumable(lambda: f"stopped; {STAYS}"):
        text = resolved(recipe.model_copy(update={"output": str(out)}))
        folder.write(out / folder.RECIPE, text)
        book = Book(out, say)
        arms = Arms(recipe, name, out, text, say)
        captioners = Captioners(recipe, out, book, say)
        captioners.make(member for row in arms.rows for member in row.members)
        maker = Maker(recipe, out, say, show)
        for batch in arms.batches:
            with book.part(batch.part):
                arms.drawn(batch, maker.draw(batch, captioners))
        arms.cost(book)
        with book.part("measure"):
            arms.measure()
        if recipe.probe is not None and arms.to_probe:
            probe_arms(recipe, arms, maker, book, say)
        arms.finish()
        unheld = tuple(f"{one.name} ({one.says})" for one in arms.checks if not one.holds)
        return AblateRun(out, out / folder.PAGE, arms.ablation(), arms.failed, unheld)
