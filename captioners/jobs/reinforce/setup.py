"""Before a run of `reinforce` starts: what can be refused is refused, the layer is claimed, the shards are frozen."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from captioners.core import layers
from captioners.core.errors import CaptionersError, UserError
from captioners.core.layers import Layer
from captioners.core.recipe import resolved
from captioners.core.run_dir import RunDir
from captioners.core.shard_files import REINFORCED, SHARDS
from captioners.data import run_start
from captioners.data.source import Shard
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce.estimate import first_sample
from captioners.jobs.reinforce.loading import batch_of, load, meaning_of
from captioners.reinforcement.augmentation import as_config
from captioners.reinforcement.contract import AUG, AUG_KEY, SYN, is_syn_key
from captioners.reinforcement.contract_texts import read_object
from captioners.reinforcement.embeddings import refuse_legacy
from captioners.reinforcement.set_files import CONFIG, wrapped_config
from captioners.reinforcement.teachers import Ensemble

SEMANTICS = 2
"""Raised when what is written of the same input changes."""


@dataclass
class Started:
    """A run whose inputs are frozen and whose layer is claimed."""

    run: RunDir
    shards: list[Shard]
    """Those this start is about."""
    frozen: int
    """All shards of the run."""
    layer: Layer
    ensemble: Ensemble


def start(recipe: ReinforceRecipe, name: str, say: Callable[[str], None]) -> Started:
    """Refuse what cannot be done; then claim the layer, freeze the inputs, write recipe and config.json.

    Raises:
        UserError: a teacher, a licence, the output, the inputs, what their first sample has, or shards here that were
            made otherwise.
    """
    check_teachers(recipe)
    run = RunDir(recipe.output or str(Path("runs") / f"{name}-{run_start.identity(recipe.source, recipe.seed)}"))
    run_start.check_output(recipe.source, run)
    shards, _ = run_start.shards_of(run, recipe.source)  # what is wrong with them is said before a teacher is loaded
    check_first(recipe, shards)
    say(f"loading {', '.join(teacher.called for teacher in recipe.teachers)}")
    ensemble = load(recipe, batch_of(recipe))
    layer = layer_of(recipe, ensemble)
    source = recipe.source.model_dump(mode="json")
    settled = run_start.begin(run, {"batch": ensemble.batch, "source": source, "seed": recipe.seed})
    if "batch" not in settled:
        raise UserError(f"output {run.url}: a run of another job; choose another output=")
    if settled["batch"] != ensemble.batch:
        ensemble.batch = int(settled["batch"])
        if recipe.batch is not None:
            say(f"batch stays {ensemble.batch}, as the run began")
    layers.claim(
        run.place,
        layer,
        what=f"{run.url} has shards that were",
        ways="Write to another output=, or bring back what the recipe said then",
    )
    shards = run_start.freeze(run, recipe.source)
    run.write_recipe(resolved(recipe.model_copy(update={"output": run.url})))
    run.place.write(f"{SHARDS}/{CONFIG}", config_of(recipe, ensemble).encode())
    run_start.link_latest(run)
    return Started(run, shards[: recipe.max_shards], len(shards), layer, ensemble)


def check_teachers(recipe: ReinforceRecipe) -> None:
    """Raise UserError for a licence that the recipe does not allow."""
    for teacher in recipe.teachers:
        if refused := teacher.refusal(recipe.allow_noncommercial):
            raise UserError(refused)


def check_first(recipe: ReinforceRecipe, shards: Sequence[Shard]) -> None:
    """Raise UserError if the first sample's captions do not fit the layout, or its augmentations not `n_aug`."""
    raw = None
    with suppress(CaptionersError):  # what is wrong with the shard is said in its turn
        raw = first_sample(recipe.source.open(), shards[0]) if shards else None
    if raw is None:
        return
    captions, _ = read_object(SYN, raw.members[SYN])
    if recipe.layout == "legacy" and (keys := [key for key in captions if is_syn_key(key)]):
        refuse_legacy(keys)
    drawn = read_object(AUG, raw.members.get(AUG, b"{}"))[0].get(AUG_KEY)
    if isinstance(drawn, list) and len(drawn) != recipe.n_aug:
        raise UserError(
            f"n_aug {recipe.n_aug}: {raw.name} has {len(drawn)} augmentations, which stay as they are embedded; say "
            f"n_aug={len(drawn)}, or take paug.json and embeddings out of the shards to have all made anew"
        )


def layer_of(recipe: ReinforceRecipe, ensemble: Ensemble) -> Layer:
    """Return what the embeddings are: everything that changes them, and what is good to know."""
    meaning: dict[str, Any] = {
        "semantics": SEMANTICS,
        "teachers": {str(number): meaning_of(teacher) for number, teacher in enumerate(ensemble.teachers)},
        "n_aug": recipe.n_aug,
        "image_augmentation": recipe.image_augmentation.model_dump(mode="json"),
        "pictures": {"decode_profile": "as_trained", "max_pixels": recipe.max_pixels},
        "dtype": recipe.dtype,
        "layout": recipe.layout,
        "seed": recipe.seed,
    }
    facts = {"teachers": [teacher.called for teacher in recipe.teachers], "package": version("captioners")}
    return Layer(name=REINFORCED, draws=1, meaning=meaning, facts=facts)


def config_of(recipe: ReinforceRecipe, ensemble: Ensemble) -> str:
    """Return the text of config.json: what the trainer reads, and each teacher's place, scale and input."""
    first = ensemble.teachers[0].preprocess
    return wrapped_config(
        as_config(recipe.image_augmentation.drawn_from(), tuple(first.means), tuple(first.stds)),
        model_name=",".join(teacher.name for teacher in recipe.teachers),
        pretrained=",".join(teacher.pretrained or "" for teacher in recipe.teachers),
        num_samples=recipe.n_aug,
        seed=recipe.seed,
        layout=recipe.layout,
        dtype=recipe.dtype,
        teachers=[
            {
                "name": teacher.options.name,
                "pretrained": teacher.options.pretrained or "",
                "logit_scale": teacher.scale,
                "dim": teacher.dim,
                "image_size": teacher.size,
                "mean": teacher.preprocess.means,
                "std": teacher.preprocess.stds,
            }
            for teacher in ensemble.teachers
        ],
    )
