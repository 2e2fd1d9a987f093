"""Look at a whole set before it is trained on: every picture decoded, every caption tokenised, no weights loaded."""

from collections.abc import Callable
from dataclasses import dataclass

from captioners.data.duplicates import near_duplicates
from captioners.data.facts import Facts, facts_of
from captioners.data.survey import survey
from captioners.jobs.finetune_quick import quick_recipe
from captioners.jobs.finetune_recipe import FinetuneRecipe
from captioners.kinds.catalogue import find


@dataclass(frozen=True)
class DataCheck:
    """What was found in a set."""

    recognised: str
    """What the path was taken for."""
    recipe: FinetuneRecipe
    """How it would be trained on."""
    facts: Facts

    @property
    def lines(self) -> list[str]:
        """The set's numbers, for people."""
        return self.facts.lines(self.recipe.data_licence)

    @property
    def warnings(self) -> list[str]:
        """What may be wrong."""
        return self.facts.warnings()

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
    found = survey(recipe.source.open(), profile=recipe.decode_profile, seen=seen)
    groups = near_duplicates([item.fingerprint for item in found.items]).tolist()
    return DataCheck(recognised, recipe, facts_of(found, groups, tokenizer, recipe.context_length or context_length))
