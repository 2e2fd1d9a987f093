"""Did it get better? The test images, read once: the captioner a run began with against the one that it made."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.decoding.values import Beam, Sample
from captioners.jobs.compare.images import ComparedImage
from captioners.jobs.compare.job import compare
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.train.data import HeldOut
from captioners.jobs.train.start import Recipe, Start
from captioners.kinds.catalogue import KnownCaptioner, Origin
from captioners.kinds.coca import CocaCaptioner
from captioners.kinds.loading import Loaded
from captioners.kinds.scorer import open_scorer, refuse_own_tower

MOST = 1000
"""Test images that are captioned; more say little more, and each is captioned twice."""
RESULT = "result.json"
_SAMPLES = 8
"""Captions of test images on the captioner's card."""


def check_scorer(recipe: Recipe, start: Start, say: Callable[[str], None]) -> None:
    """Open the recipe's scorer, for its mistakes are to be met before the run and not at its end, and let it go again.

    Raises:
        UserError, NotFoundError: it cannot be opened, or has the image tower of the captioner that it is to judge.
    """
    if not isinstance(recipe, FinetuneRecipe) or recipe.scorer is None:
        return
    if recipe.split is None or not recipe.split.test:
        say(f"scorer {recipe.scorer}: has nothing to judge, because split.test holds no image out")
        return
    refuse_own_tower(open_scorer(recipe.scorer), _captioner(recipe, start, recipe.init, start.recommended).info)


def verdict(
    recipe: FinetuneRecipe,
    start: Start,
    test: HeldOut,
    decoding: Sample | Beam,
    directory: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Compare the captioner in `start`, as it is now, with the recipe's `init`; write, say and return what was found.

    `result.json` holds all of it; returned is what the captioner's card says of it, nothing if it could not be done.
    """
    before = CocaCaptioner(recipe.init, device=recipe.device, context_length=recipe.context_length)
    after = _captioner(recipe, start, recipe.name or directory.name, decoding)
    some = test.first(MOST)
    samples = [
        ComparedImage(key=key, image=some.image(number), references=some.captions[number])
        for number, key in enumerate(some.keys)
    ]
    try:
        scorer = open_scorer(recipe.scorer) if recipe.scorer else None
        found = compare(before, after, samples, decoding, scorer=scorer, seed=recipe.seed)
    except UserError as error:
        say(f"Did it get better? not compared: {error}")
        return {}
    result = found.as_json()
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    (directory / RESULT).write_text(text, encoding="utf-8")
    say(found.sentence)
    say(found.scorer_note)
    return {
        "comparison": {name: result[name] for name in ("sentence", "scores", "style") if name in result},
        "sample_captions": [{"key": Path(row.key).name, "caption": row.after} for row in found.rows[:_SAMPLES]],
    }


def _captioner(recipe: FinetuneRecipe, start: Start, name: str, decoding: Sample | Beam) -> CocaCaptioner:
    """Return the model of `start`, as it is now, as a captioner."""
    return CocaCaptioner(
        KnownCaptioner(name, Origin("random", ""), "the model of this run"),
        loaded=Loaded(start.loaded, start.tokenizer, start.licences, decoding, start.knows_only),
        device=recipe.device,
    )
