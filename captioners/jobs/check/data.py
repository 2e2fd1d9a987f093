"""Look at a whole set before it is trained on: every picture decoded, every caption tokenised, no weights loaded."""

from collections.abc import Callable
from dataclasses import dataclass

from captioners.data.duplicates import near_duplicates
from captioners.data.facts import Facts, facts_of
from captioners.data.leaks import LeakReport
from captioners.data.licences import licences_of
from captioners.data.source import describe
from captioners.data.survey import survey
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.recipes.train import data_licence_of
from captioners.jobs.train.quick import quick_recipe
from captioners.kinds.catalogue import find


@dataclass(frozen=True)
class DataCheck:
    """What was found in a set."""

    recognised: str
    """What the path was taken for."""
    recipe: FinetuneRecipe
    """How it would be trained on."""
    facts: Facts
    source: tuple[str, ...] = ()
    """What the source has to tell."""
    leaks: tuple[str, ...] = ()
    """Which evaluation sets of the recipe's `leaks` it overlaps."""

    @property
    def lines(self) -> list[str]:
        """The set's numbers, for people."""
        found = [f"source      {line}" for line in self.source] + [f"leaks       {line}" for line in self.leaks]
        return [*found, *self.facts.lines(data_licence_of(self.recipe))]

    @property
    def warnings(self) -> list[str]:
        """What may be wrong."""
        augmentation = self.recipe.augmentation
        flips = augmentation != "none" and augmentation.horizontal_flip > 0
        refusal = licences_of(self.recipe.source).refusal(self.recipe.allow_noncommercial)
        return [*self.facts.warnings(flips=flips), *([f"source: {refusal}"] if refusal else [])]

    @property
    def problem(self) -> str | None:
        """Why it cannot be trained on as it is, or None."""
        return self.facts.problem(self.recipe.skipped_ceiling)


def check_data(what: list[str], seen: Callable[[int], None] = lambda _: None) -> DataCheck:
    """Look at the set that paths (or a finetune recipe, with overrides) mean; `seen` is told the samples met.

    Raises:
        UserError, NotFoundError: no set is there, two readings are possible, or the recipe has mistakes.
    """
    from captioners.kinds.loading import tokenizer_of

    recipe, recognised = quick_recipe(what)
    tokenizer, context_length = tokenizer_of(find(recipe.init))
    source, leaks = recipe.source.open(), LeakReport(recipe.leaks)
    about = describe(source)
    found = survey(
        source,
        profile=recipe.decode_profile,
        met=lambda sample: leaks.add(sample.key, sample.meta),
        seen=seen,
    )
    groups = near_duplicates([item.fingerprint for item in found.items]).tolist()
    facts = facts_of(found, groups, tokenizer, recipe.context_length or context_length)
    return DataCheck(recognised, recipe, facts, about, tuple(leaks.lines()))
