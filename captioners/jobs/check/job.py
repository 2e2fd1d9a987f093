"""Check recipes and paths before anything runs: every mistake at once, and a plain list of what was not checked.

No weights are loaded and nothing is downloaded, so this answers in a second.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from captioners.core.errors import ImageError, NotFoundError, RecipeError, UserError
from captioners.core.options import Options
from captioners.core.package_data import recipe_names
from captioners.core.recipe import Recipe, find_recipe, read_options, read_recipe
from captioners.decoding.values import Sample
from captioners.images.decode import SUFFIXES, list_images, read_image
from captioners.jobs.recipes.ablate import AblateRecipe
from captioners.jobs.recipes.arms import Trained
from captioners.jobs.recipes.caption import CaptionRecipe
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.kinds.catalogue import KnownCaptioner, find
from captioners.kinds.kind import KindOptions
from captioners.reinforcement.teacher_options import TeacherOptions

_NOT_CHECKED_RECIPE = (
    "that the weights exist and load, fit the machine's memory and are what their digest says",
    "that the pictures can be decoded",
    "that the disk has room for the result",
)
_NOT_CHECKED_FOLDER = ("that its pictures can be decoded",)
_MOST_SUFFIXES = 6


@dataclass
class Findings:
    """What `check` found out."""

    right: list[str] = field(default_factory=list)
    """One line per thing that can be used."""
    wrong: list[str] = field(default_factory=list)
    """One message per thing that can't; a recipe's message holds all its mistakes."""
    not_checked: list[str] = field(default_factory=list)
    next_command: str = ""


def check(target: str, overrides: Sequence[str] = ()) -> Findings:
    """Check a recipe (path or name), a folder of recipes, a picture, or a folder of pictures.

    Raises `NotFoundError` if there is no such thing. Recipes are checked with `overrides`, and once more with their
    `smoke` section.
    """
    path = Path(target)
    packaged = [name for name in recipe_names() if name.startswith(f"{target.rstrip('/')}/")]
    if path.is_dir():
        recipes = sorted(path.rglob("*.yaml")) + sorted(path.rglob("*.yml"))
        return _check_recipes(list(map(str, recipes)), overrides) if recipes else _look_at_folder(path)
    if path.is_file() and path.suffix.lower() not in (".yaml", ".yml"):
        return _look_at_file(path)
    if packaged and not path.exists():
        return _check_recipes(packaged, overrides)
    find_recipe(target)
    return _check_recipes([target], overrides)


def cross_problems(options: Options) -> list[str]:
    """Return what is wrong with a valid recipe as a whole: its captioner, its context, its inputs.

    Every job's cross-checks live here.
    """
    if isinstance(options, CaptionRecipe):
        return _caption_problems(options)
    if isinstance(options, GenerateRecipe):
        return _generate_problems(options)
    if isinstance(options, ReinforceRecipe):
        return _reinforce_problems(options)
    if isinstance(options, AblateRecipe):
        return _ablate_problems(options)
    return _init_problems(options) if isinstance(options, FinetuneRecipe) else []


def _reinforce_problems(options: ReinforceRecipe) -> list[str]:
    return _teacher_problems("teachers", options.teachers, options.allow_noncommercial) + _source_problems(options)


def _teacher_problems(field: str, teachers: Sequence[TeacherOptions], allow_noncommercial: bool) -> list[str]:
    refused = [(number, one.refusal(allow_noncommercial)) for number, one in enumerate(teachers)]
    problems = [f"{field}.{number}: {why}" for number, why in refused if why]
    folders = [(number, one.name.removeprefix("local-dir:")) for number, one in enumerate(teachers)]
    return problems + [
        f"{field}.{number}.name: no such folder: {folder}"
        for number, folder in folders
        if teachers[number].name != folder and not Path(folder).is_dir()
    ]


def _ablate_problems(options: AblateRecipe) -> list[str]:
    problems = []
    for name, given in options.captioners.items():
        field = f"captioners.{name}"
        if not isinstance(given, Trained):
            problems += _captioner_problems(field, given, options.allow_noncommercial)
            continue
        changes = [f"{key}={json.dumps(value)}" for key, value in given.changes.items()]
        try:
            problems += [
                f"{field}: {one}" for one in _init_problems(read_options(FinetuneRecipe, given.finetune, changes))
            ]
        except UserError as error:
            problems.append(f"{field}: {error}")
    teachers = options.reinforce.teachers
    if teachers != "oracle":
        problems += _teacher_problems("reinforce.teachers", teachers, options.allow_noncommercial)
    return problems + _source_problems(options)


def _captioner_problems(field: str, captioner: str | KindOptions, allow_noncommercial: bool) -> list[str]:
    if isinstance(captioner, KindOptions):
        return _kind_problems(field, captioner, allow_noncommercial)
    if _comes_later(captioner):
        return []
    try:
        return _known_problems(field, find(captioner), allow_noncommercial)
    except NotFoundError as error:
        return [f"{field}: {error}"]


def _source_problems(options: GenerateRecipe | ReinforceRecipe | AblateRecipe) -> list[str]:
    if _inputs_missing(options):
        return []
    try:
        options.source.open().shards()
    except UserError as error:
        return [f"source: {error}"]
    return []


def _generate_problems(options: GenerateRecipe) -> list[str]:
    members = enumerate(options.members)
    found = [
        _captioner_problems(f"members.{n}.captioner", one.captioner, options.allow_noncommercial) for n, one in members
    ]
    return [*chain.from_iterable(found), *_source_problems(options)]


def _kind_problems(field: str, kind: KindOptions, allow_noncommercial: bool) -> list[str]:
    found = (kind.missing(), kind.refusal(allow_noncommercial))
    return [f"{field}: {problem}" for problem in found if problem]


def _comes_later(given: str) -> bool:
    """Whether this is what another recipe makes, as the demo's recipes feed each other, and has not made yet."""
    return given.startswith("runs/") and not Path(given).exists()


def _inputs_missing(options: GenerateRecipe | ReinforceRecipe | AblateRecipe) -> str:
    """Say why the inputs cannot be looked at yet, though that is no mistake; empty when they can."""
    inputs = getattr(options.source, "inputs", None)
    if inputs == []:
        return "no inputs yet (source.inputs='[PATH]')"
    later = [given for given in inputs or () if _comes_later(given)]
    return f"{later[0]} is not made yet" if later else ""


def _init_problems(options: FinetuneRecipe) -> list[str]:
    if _comes_later(options.init):
        return []
    try:
        return _known_problems("init", find(options.init), options.allow_noncommercial)
    except NotFoundError as error:
        return [f"init: {error}"]


def _known_problems(field: str, known: KnownCaptioner, allow_noncommercial: bool) -> list[str]:
    problems = []
    if known.origin.kind in ("directory", "file") and not Path(known.origin.where).expanduser().exists():
        problems.append(f"{field}: {known.origin.where} does not exist")
    if known.noncommercial and not allow_noncommercial:
        why = f"{known.name} may not be used commercially ({known.licences.get('weights', 'unknown')})"
        problems.append(f"{field}: {why}; say allow_noncommercial: true if that is fine")
    return problems


def _caption_problems(options: CaptionRecipe) -> list[str]:
    problems = [f"inputs: no such file or folder: {i}" for i in options.inputs if not Path(i).expanduser().exists()]
    try:
        known = find(options.captioner)
    except NotFoundError as error:
        return [f"captioner: {error}", *problems]
    return problems + _known_problems("captioner", known, options.allow_noncommercial)


def _check_recipes(sources: list[str], overrides: Sequence[str]) -> Findings:
    findings = Findings(not_checked=list(_NOT_CHECKED_RECIPE))
    for source in sources:
        try:
            recipe = read_recipe(source, overrides)
            problems = cross_problems(recipe.options)
            if recipe.has_smoke:
                read_recipe(source, overrides, smoke=True)
        except RecipeError as error:
            findings.wrong.append(str(error))
            continue
        if problems:
            findings.wrong.append("\n  ".join([f"{source} cannot run:", *problems]))
        else:
            findings.right.append(_describe(source, recipe))
            findings.next_command = f"captioners {recipe.job} {' '.join([source, *overrides])}"
    if len(sources) > 1:
        findings.next_command = ""
    return findings


def _describe(source: str, recipe: Recipe) -> str:
    options = recipe.options
    if isinstance(options, GenerateRecipe):
        return f"{source}: {_describe_generate(options)}"
    if isinstance(options, ReinforceRecipe):
        teachers = " + ".join(teacher.called for teacher in options.teachers)
        missing = _inputs_missing(options)
        shards = missing or f"{len(options.source.open().shards()):,} shards"
        return f"{source}: {options.n_aug} x {teachers}, {options.dtype}, {options.layout}; {shards}"
    if isinstance(options, AblateRecipe):
        return f"{source}: {_describe_ablate(options)}"
    if not isinstance(options, CaptionRecipe):
        return f"{source}: a recipe of the job '{recipe.job}'"
    decoding = options.decoding
    how = "samples" if isinstance(decoding, Sample) else f"beam search of width {decoding.width}"
    inputs = f"{len(options.inputs)} inputs" if options.inputs else "no inputs yet (inputs='[PATH]')"
    draws = "one caption" if options.draws == 1 else f"{options.draws} captions"
    return f"{source}: {options.captioner}, {how}, {draws} for each picture; {inputs}"


def _describe_ablate(options: AblateRecipe) -> str:
    rows, probe = options.rows(), options.probe
    said = f"{len(rows)} arms of {len(options.captioners)} captioners"
    if probe is not None:
        students = len(rows) * len(probe.seeds) * len(probe.distillation_weights)
        said += f", {students} students, {len(options.declare.contrasts)} contrasts declared"
    missing = _inputs_missing(options)
    return f"{said}; {missing}" if missing else said


def _describe_generate(options: GenerateRecipe) -> str:
    members = ", ".join(f"{member.called} x {member.draws}" for member in options.members)
    if missing := _inputs_missing(options):
        return f"{members}; {missing}"
    shards = len(options.source.open().shards())
    return f"{members}; {shards:,} shard{'' if shards == 1 else 's'}"


def _look_at_folder(path: Path) -> Findings:
    if (path / "open_clip_config.json").is_file():
        return Findings(
            right=[f"{path}: a captioner's directory"],
            not_checked=["that its weights load and fit its configuration"],
            next_command=f"captioners caption PHOTO.jpg --captioner {path}",
        )
    pictures = list_images(path)
    if not pictures:
        found = Counter(p.suffix.lower() or "no suffix" for p in path.iterdir() if p.is_file())
        there = ", ".join(f"{n} {suffix}" for suffix, n in found.most_common(_MOST_SUFFIXES)) or "no files"
        raise NotFoundError(f"{path} holds neither recipes (.yaml) nor pictures, but {there}")
    kinds = Counter(p.suffix.lower() for p in pictures)
    counts = ", ".join(f"{number} {suffix}" for suffix, number in kinds.most_common(_MOST_SUFFIXES))
    return Findings(
        right=[f"{path}: a folder of {len(pictures)} pictures ({counts})"],
        not_checked=list(_NOT_CHECKED_FOLDER),
        next_command=f"captioners caption {path}",
    )


def _look_at_file(path: Path) -> Findings:
    try:
        picture = read_image(path)
    except ImageError as error:
        if path.suffix.lower() in SUFFIXES:
            return Findings(wrong=[str(error)])
        return Findings(wrong=[f"{path} is neither a recipe (.yaml) nor a picture that can be read"])
    width, height = picture.image.size
    return Findings(
        right=[f"{path}: a picture of {width} x {height} px, readable"],
        not_checked=["what a captioner says of it"],
        next_command=f"captioners caption {path}",
    )
