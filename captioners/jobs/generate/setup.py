"""Before a run of `generate` starts: everything that can be refused is refused, and every layer is claimed."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from captioners.core import layers
from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.layers import Layer
from captioners.core.recipe import resolved
from captioners.core.run_dir import RunDir
from captioners.data import run_start
from captioners.data.drawn_source import DrawnOptions
from captioners.data.source import Shard
from captioners.jobs.generate.loading import load
from captioners.jobs.generate.passes import Sharing, fits, form, memory_of, needs_of
from captioners.jobs.generate.replace import set_aside
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.kinds.captioner import Captioner, Needs
from captioners.kinds.choices import refusal, written
from captioners.text import flags


@dataclass
class Started:
    """A run whose inputs are frozen and whose layers are claimed."""

    run: RunDir
    shards: list[Shard]
    """Those this start is about."""
    frozen: int
    """All shards of the run."""
    unit_samples: int
    layers: dict[str, Layer]
    sharing: Sharing
    """Its captioners, by pass."""
    loaded: dict[int, Captioner]
    """Number among the recipe's groups -> captioner, of those that were kept."""


def start(recipe: GenerateRecipe, name: str, say: Callable[[str], None], replace: Collection[str] = ()) -> Started:
    """Refuse what cannot be done; then claim the layers, freeze the inputs and write the recipe.

    Layers of the members in `replace` are set aside where they were made otherwise. Shards are frozen in an order whose
    every beginning is an even sample of those found together.

    Raises:
        UserError: a captioner, a licence, the output, the inputs, or captions made otherwise under a member's name.
    """
    check_members(recipe)
    _check_named(recipe, replace)
    run = RunDir(recipe.output or str(Path("runs") / f"{name}-{run_start.identity(recipe.source, recipe.seed)}"))
    run_start.check_output(recipe.source, run)
    run_start.shards_of(run, recipe.source)  # what is wrong with them is said before a captioner is loaded
    _check_precise(recipe)
    claimed, shared, loaded = _layers(recipe, say)
    source = recipe.source.model_dump(mode="json")
    fixed = {"unit_samples": recipe.unit_samples, "source": source, "seed": recipe.seed}
    settled = run_start.begin(run, fixed)
    for layer in claimed.values():
        if layer.name in replace:
            set_aside(run, layer, say)
        layers.claim(run.place, layer)
    if settled["unit_samples"] != recipe.unit_samples:
        say(f"unit_samples stays {settled['unit_samples']}, as the run began")
    shards = run_start.freeze(run, recipe.source)
    run.write_recipe(resolved(recipe.model_copy(update={"output": run.url})))
    run_start.link_latest(run)
    return Started(run, shards[: recipe.max_shards], len(shards), settled["unit_samples"], claimed, shared, loaded)


def check_members(recipe: GenerateRecipe) -> None:
    """Raise NotFoundError for an unknown captioner, UserError for a licence that the recipe does not allow."""
    for member in recipe.members:
        refused = refusal(member.captioner, recipe.allow_noncommercial)
        if refused:
            raise UserError(refused)


def _check_precise(recipe: GenerateRecipe) -> None:
    """Refuse what workers on another type of device would settle otherwise than this process, which claims layers."""
    from captioners.kinds._device import device_named

    there = recipe.executor.device
    here = device_named("auto").type
    if there in (None, here) or recipe.device != "auto":
        return
    for member in recipe.members:
        uses = ("precision", "exact") if isinstance(member.captioner, str) else member.captioner.USES
        unsaid = {"precision": member.precision == "auto", "exact": member.exact is None}
        if left := [f"{name}:" for name, open_ in unsaid.items() if open_ and name in uses]:
            raise UserError(
                f"member '{member.called}': this machine would compute on {here} and executor {recipe.executor.kind} "
                f"(gpus: {getattr(recipe.executor, 'gpus', 0):g}) on {there}, with other defaults; say "
                f"{' and '.join(left)} for it, such as {{precision: bf16, exact: false}} on GPUs"
            )


def _check_named(recipe: GenerateRecipe, replace: Collection[str]) -> None:
    known = [member.called for member in recipe.members]
    for name in replace:
        if name not in known:
            hint = near(name, known) or f" The recipe's members: {', '.join(known)}"
            raise UserError(f"--replace {name}: no member is called so.{hint}")


def _layers(
    recipe: GenerateRecipe, say: Callable[[str], None]
) -> tuple[dict[str, Layer], Sharing, dict[int, Captioner]]:
    """Return every member's layer, the passes, and the first pass's captioners where this process will need them."""
    claimed: dict[str, Layer] = {}
    loaded: dict[int, Captioner] = {}
    needs: list[Needs | None] = []
    memory = 0
    for number, members in enumerate(recipe.groups):
        say(f"loading {written(members[0].captioner)}")
        captioner = load(members[0], recipe)
        if captioner.info.warning and not isinstance(recipe.source, DrawnOptions):
            say(captioner.info.warning)
        for member in members:
            problem = captioner.accepts(member.decoding, member.draws, member.prompt)
            if problem:
                raise UserError(f"member '{member.called}': {problem}")
            claimed[member.called] = layer_of(recipe, member, captioner)
        needs.append(needs_of(captioner))
        memory = memory or memory_of(recipe, captioner)
        if recipe.workers == 1 and (not loaded or fits([*(needs[kept] for kept in loaded), needs[-1]], memory)):
            loaded[number] = captioner
    shared = Sharing(tuple(recipe.groups), tuple(needs), memory, tuple(form(needs, memory)))
    if shared.line:
        say(shared.line)
    return claimed, shared, {number: captioner for number, captioner in loaded.items() if number in shared.passes[0]}


def layer_of(recipe: GenerateRecipe, member: Member, captioner: Captioner) -> Layer:
    """Return what a member's captions are: everything that changes one, and what is good to know."""
    info = captioner.info
    meaning = {
        "member": member.called,
        "draws": member.draws,
        "decoding": member.decoding.model_dump(mode="json"),
        "prompt": member.prompt,
        "seed": recipe.seed,
        "rules": {"version": flags.VERSION, **recipe.rules.model_dump(mode="json")},
        "pictures": {"decode_profile": recipe.decode_profile, "max_pixels": recipe.max_pixels},
        **info.meaning,
    }
    facts = {
        "captioner": written(member.captioner),
        "captioner_name": info.name,
        "kind": info.kind,
        "licences": info.licences,
        "commercial_use": _commercial_use(member),
        "tower": info.tower_digest,
        "package": version("captioners"),
    }
    return Layer(name=member.called, draws=member.draws, meaning=meaning, facts=facts)


def _commercial_use(member: Member) -> str:
    try:
        return "no" if refusal(member.captioner, allow_noncommercial=False) else "unknown"
    except NotFoundError:  # made by hand, as in a bench: no catalogue knows its name
        return "unknown"
