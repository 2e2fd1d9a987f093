"""Say what a recipe will cost before it runs: training modelled, captions measured, scaled or modelled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from captioners.core.errors import UserError
from captioners.core.recipe import Recipe, read_recipe
from captioners.core.run_dir import open_run
from captioners.data.folder_source import FolderOptions
from captioners.jobs.plan import amount, calibration
from captioners.jobs.plan.ablating import ablating_plan
from captioners.jobs.plan.calibration import Calibration, measured_by
from captioners.jobs.plan.captioning import (
    Asked,
    Work,
    data_rows,
    measured_rows,
    money_rows,
    time_rows,
    work_rows,
    workers_of,
)
from captioners.jobs.plan.levers import lever_rows
from captioners.jobs.plan.pilot import measure
from captioners.jobs.plan.reinforcing import reinforcing_plan
from captioners.jobs.plan.rows import Plan, Section
from captioners.jobs.plan.simulated import simulated_rows
from captioners.jobs.plan.training import training_plan
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.jobs.recipes.caption import CaptionRecipe
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.jobs.recipes.pretrain import PretrainRecipe
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.runs.remake import read_recipe_of


@dataclass(frozen=True)
class Measured:
    """Where a plan of captions has its times from; without a file, they are measured here, or modelled for a GPU."""

    calibration: Path | None = None
    save: Path | None = None
    images: int | None = None
    """To measure on."""


_NOTHING, _HERE = Asked(), Measured()


def plan(
    source: str,
    overrides: Sequence[str] = (),
    asked: Asked = _NOTHING,
    assume: Sequence[str] = (),
    measured: Measured = _HERE,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Return what a recipe costs; `assume` is what a user says otherwise of it, NAME=VALUE each.

    Raises:
        UserError, NotFoundError: a mistake in the recipe, in what it is asked for or in an assumption; captions that
            cannot be measured here.
    """
    read = read_recipe(source, overrides)
    if isinstance(read.options, PretrainRecipe | FinetuneRecipe):
        _only_captions(source, read, asked, measured)
        return training_plan(read, asked.gpus, assume)
    if isinstance(read.options, ReinforceRecipe):
        _only_captions(source, read, asked, measured)
        return reinforcing_plan(read, assume)
    if isinstance(read.options, AblateRecipe):
        _only_captions(source, read, asked, measured)
        return ablating_plan(read, assume)
    recipe = _generating(read)
    known = _calibration(recipe, asked, measured, say)
    assumed = amount.assumptions(recipe, known, assume)
    left = amount.amount_of(recipe, assumed, assume)
    return _captions(read.name, read.job, Work(recipe, workers_of(asked.gpus, known), left, assumed, known, asked))


def plan_rest(given: str, asked: Asked = _NOTHING, assume: Sequence[str] = ()) -> Plan:
    """Return what is left of a run, at the pace that its own ledger tells.

    Raises:
        UserError, NotFoundError: no run is there, or nothing of it is finished yet.
    """
    run = open_run(given)
    recipe = read_recipe_of(run)
    found = measured_by(run, recipe)
    assumed = amount.assumptions(recipe, found, assume)
    left = amount.left_of(run, recipe, assumed)
    return _captions(run.url, "generate", Work(recipe, workers_of(asked.gpus, found), left, assumed, found, asked))


def _only_captions(source: str, read: Recipe, asked: Asked, measured: Measured) -> None:
    """Refuse for a training recipe what is about captions."""
    wrong = [
        ("--calibration", measured.calibration),
        ("--save", measured.save),
        ("--images", measured.images),
        ("--price-per-gpu-hour", asked.price_per_gpu_hour),
        ("--egress-per-gb", asked.egress_per_gb),
        ("--deadline", asked.deadline),
        ("--simulate", asked.simulate or None),
    ]
    given = [name for name, value in wrong if value is not None]
    if given:
        raise UserError(f"{', '.join(given)}: for recipes that caption; {source} is one of the job '{read.job}'")


def _generating(read: Recipe) -> GenerateRecipe:
    """Return the recipe as one of `generate`, which is what `caption` does with its pictures."""
    recipe = read.options
    if isinstance(recipe, GenerateRecipe):
        return recipe
    if not isinstance(recipe, CaptionRecipe):
        raise UserError(f"{read.name}: a recipe of the job '{read.job}', which is not planned")
    shared = ("captioner", "decoding", "draws", "prompt", "context_length", "precision", "exact")
    member = Member(name=recipe.member, **{name: getattr(recipe, name) for name in shared})
    both = ("seed", "allow_noncommercial", "device", "memory_gb")
    return GenerateRecipe(
        source=FolderOptions(inputs=recipe.inputs, captions="none"),
        members=[member],
        format="jsonl",
        **{name: getattr(recipe, name) for name in both},
    )


def _calibration(
    recipe: GenerateRecipe, asked: Asked, measured: Measured, say: Callable[[str], None]
) -> Calibration | None:
    """Return what times rest on: a file, a measurement here, or nothing where a GPU is named and none is asked for."""
    if measured.calibration is not None:
        if measured.save is not None or measured.images is not None:
            raise UserError(
                "--calibration is a measurement made before; --save and --images make a new one: drop either"
            )
        return calibration.load(measured.calibration)
    named = asked.gpus is not None and asked.gpus.partition(":")[0] != "this"
    if named and measured.save is None and measured.images is None:
        return None
    found = measure(recipe, measured.images, say)
    if measured.save is not None:
        calibration.save(found, measured.save)
    return found


def _captions(name: str, job: str, work: Work) -> Plan:
    pace = work.pace()
    basis = "measured" if work.workers.measured else "modelled, not measured"
    if work.workers.measured and (work.workers.count > 1 or pace.known != "measured"):
        basis = "scaled from a measurement"
    sections = [
        Section("the work", tuple(work_rows(work))),
        Section("measured, of one worker", tuple(measured_rows(work))),
        Section(f"on {work.workers}", tuple(time_rows(work))),
        Section("data", tuple(data_rows(work))),
        Section("money, at your prices", tuple(money_rows(work))),
        Section("what would change it, as hours of all workers", tuple(lever_rows(work))),
    ]
    if work.asked.simulate:
        sections.append(Section("simulated, with failures and stragglers", tuple(simulated_rows(work))))
    rest = tuple(row for name, row in work.assumed.items() if _counts(name, work))
    sections.append(Section("assumed (--assume NAME=VALUE or NAME=LOW..HIGH)", rest))
    return Plan(name, job, str(work.workers), basis, tuple(section for section in sections if section.rows))


def _counts(assumption: str, work: Work) -> bool:
    """Whether a plan rests on an assumption, so that it has to be told."""
    counted, measured = work.amount.images.known == "counted", work.calibration is not None
    unused = {
        "images": work.amount.images.known != "assumed",
        "images_per_shard": work.amount.shards.known == "counted",
        "bytes_per_image": counted,
        "caption_tokens": measured,
        "bytes_per_caption": measured,
        "utilisation": work.workers.measured,
    }
    return not unused.get(assumption, not work.asked.simulate)
