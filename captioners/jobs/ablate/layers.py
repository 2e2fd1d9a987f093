"""Which captions an ablation draws: of each captioner and decoding once, as many as the arm that asks for most.

An arm with fewer takes the first so many: draws are numbered, and number k is the same however many follow it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from captioners.jobs.recipes.ablate import AblateRecipe, Row
from captioners.jobs.recipes.arms import Arm, ArmMember
from captioners.reinforcement.contract import SYN_KEY
from captioners.text.flags import Rules

_UNFIT = re.compile(r"\W+")


@dataclass
class Batch:
    """What is captioned in one run: all members whose captions are held to the same rules."""

    rules: Rules
    called: str
    """Empty for the recipe's own rules; otherwise a few digits, for the run's folder and the keys."""
    members: dict[str, ArmMember] = field(default_factory=dict)
    """Name of the layer -> the member that draws most."""

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
        for member in row.arm.members:
            rules = _rules(recipe, row.arm)
            batch = found.setdefault(rules.model_dump_json(), Batch(rules, _called(recipe, rules)))
            most = batch.members.get(member.layer)
            if most is None or most.draws < member.draws:
                batch.members[member.layer] = member
    return sorted(found.values(), key=lambda batch: batch.called)


def batch_of(recipe: AblateRecipe, arm: Arm, all_of_them: Iterable[Batch]) -> Batch:
    """Return the batch that an arm's captions are drawn in."""
    called = _called(recipe, _rules(recipe, arm))
    return next(batch for batch in all_of_them if batch.called == called)


def digest_of(about: object) -> str:
    """Return 8 hex digits that tell apart what folders are made of."""
    return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]


def keys_of(recipe: AblateRecipe, arm: Arm, drawn: Iterable[Batch]) -> Mapping[str, int]:
    """Return the keys of captioned shards that an arm takes captions from, and the first how many of each."""
    if not arm.members:
        return {}
    batch = batch_of(recipe, arm, drawn)
    return {batch.key(member.layer): member.draws for member in arm.members}


def _rules(recipe: AblateRecipe, arm: Arm) -> Rules:
    return recipe.generate.rules if arm.rules is None else arm.rules


def _called(recipe: AblateRecipe, rules: Rules) -> str:
    return "" if rules == recipe.generate.rules else digest_of(rules.model_dump(mode="json"))
