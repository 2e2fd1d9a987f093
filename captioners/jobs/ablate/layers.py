"""Which captions an ablation draws: of each captioner and decoding once, as many as the arm that asks for most.

An arm with fewer takes the first so many: draws are numbered, and number k is the same however many follow it.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from captioners.jobs.recipes.ablate import AblateRecipe, Row
from captioners.jobs.recipes.arms import Drawing
from captioners.reinforcement.contract import SYN_KEY
from captioners.text.flags import Rules

_UNFIT = re.compile(r"\W+")


@dataclass
class Batch:
    """What is captioned in one run: all members whose captions are held to the same rules."""

    rules: Rules
    called: str
    """Empty for the recipe's own rules; otherwise a few digits, for the run's folder and the keys."""
    members: dict[str, Drawing] = field(default_factory=dict)
    """Name of the layer -> the member that draws most."""

    @property
    def part(self) -> str:
        """What the book calls its drawing."""
        return f"captions {self.called}".rstrip()

    def folder(self, out: Path) -> Path:
        """Return the run's folder."""
        return out / (f"captions-{self.called}" if self.called else "captions")

    def key(self, layer: str) -> str:
        """Return the key under which a layer stands in captioned shards."""
        tag = _UNFIT.sub("_", f"{layer}_{self.called}").strip("_")
        return f"{SYN_KEY}_{tag}"


def batches(recipe: AblateRecipe, rows: Iterable[Row]) -> list[Batch]:
    """Return what is drawn, the recipe's own rules first."""
    found: dict[str, Batch] = {}
    for row in rows:
        for member in row.members:
            called = _called(recipe, row.rules)
            batch = found.setdefault(called, Batch(row.rules, called))
            most = batch.members.get(member.layer)
            if most is None or most.draws < member.draws:
                batch.members[member.layer] = member
    return sorted(found.values(), key=lambda batch: batch.called)


def batch_of(recipe: AblateRecipe, row: Row, all_of_them: Iterable[Batch]) -> Batch:
    """Return the batch that an arm's captions are drawn in."""
    return next(batch for batch in all_of_them if batch.called == _called(recipe, row.rules))


def digest_of(about: object) -> str:
    """Return 8 hex digits that tell apart what folders are made of."""
    return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]


def _called(recipe: AblateRecipe, rules: Rules) -> str:
    return "" if rules == recipe.generate.rules else digest_of(rules.model_dump(mode="json"))
