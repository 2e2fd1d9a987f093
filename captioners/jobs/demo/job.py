"""The whole loop in minutes: draw a world, fine-tune voices, caption held-out scenes, measure, look.

runs/demo/
    demo.json          what was asked for, and how long each step took
    data/finetune/     shards to learn from; data/held-out/: shards to caption
    pretrained/        with `from_scratch` only: a captioner made here instead of the packaged one
    short/ detailed/   the fine-tuned voices, and others, if asked for
    captions/          the ensemble's captions and report.html
    voices.md          before and after, voice by voice, as a table for a README; voices.json holds the same

Each step is a command of its own with a recipe of its own, which is said before it runs. What is done stays done, and
voices can be added to it.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from captioners.core.errors import NotFoundError, near
from captioners.core.options import meaning_of
from captioners.core.progress import Progress
from captioners.core.recipe import read_options, read_recipe
from captioners.core.run_dir import RunDir
from captioners.data import drawn_scene
from captioners.data.drawn_scene import WORLD_VERSION, Scene
from captioners.data.drawn_voices import VOICES as KNOWN
from captioners.jobs.data.draw import DrawOptions, data_draw
from captioners.jobs.demo.book import Book, Step, times
from captioners.jobs.demo.measure import Layer, finding, measure, scenes_of, sections
from captioners.jobs.demo.voices import Gain, gains, references_of, section, write
from captioners.jobs.generate.job import generate
from captioners.jobs.measure.truth import judged
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.jobs.recipes.pretrain import PretrainRecipe
from captioners.jobs.runs.report import Judge, report
from captioners.jobs.train.job import train
from captioners.kinds.catalogue import find
from captioners.report.page import Mark
from captioners.training.shown import Shown

NOTICE = drawn_scene.NOTICE
VOICES = ("short", "detailed")
"""Those of the demo unless others are asked for."""
_LINES = 5
"""Lines that a training is told in."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """How large the demo is."""

    out: Path = Path("runs/demo")
    from_scratch: bool = False
    """Pretrain the captioner, too, by the recipe of the packaged one."""
    scenes: int = 4000
    """To learn from."""
    held_out: int = 300
    """To caption."""
    voices: tuple[str, ...] = VOICES
    """To fine-tune; see `voices_of`."""
    pretrain: tuple[str, ...] = ()
    """Overrides of the recipe pretrain/demo; `finetune` and `generate` likewise."""
    finetune: tuple[str, ...] = ()
    generate: tuple[str, ...] = ()


@dataclass
class Demo:
    """What a demo found."""

    page: str
    findings: list[str]
    steps: list[Step]
    """Of this start and, where they were done earlier, of that one."""
    layers: dict[str, Layer]
    gains: list[Gain]
    table: Path
    """The same as Markdown."""


def voices_of(names: str) -> tuple[str, ...]:
    """Return the voices that a list such as 'short,count' names, or 'all': every voice that says nothing untrue.

    Raises:
        NotFoundError: one of them is none of these.
    """
    truthful = tuple(name for name in KNOWN if name != "alt_text")
    asked = truthful if names == "all" else tuple(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in asked:
        if name not in truthful:
            known = ", ".join(truthful)
            raise NotFoundError(
                f"no voice to fine-tune is named {name!r}.{near(name, truthful)} Known: {known}, or all"
            )
    return asked


def demo(
    options: DemoOptions,
    say: Callable[[str], None] = lambda _: None,
    show: Callable[[Progress], None] = lambda _: None,
) -> Demo:
    """Run what is not done yet of the demo and return what it found.

    `say` is told in lines what happens, `show` how far the captioning is.

    Raises:
        UserError: the folder holds another demo. InterruptedRunError: stopped; the same command continues.
    """
    out = options.out
    voices = {voice: _recipe_digest(f"finetune/demo-{voice}") for voice in options.voices}
    book = Book(out, _asked(options), voices, 3 + len(voices) + options.from_scratch, say)
    with book.step("draw"):
        _draw(out / "data/finetune", "finetune", options.scenes, 1000, say)
        _draw(out / "data/held-out", "caption", options.held_out, 100, say)  # a share for each worker
    init = "demo"
    if options.from_scratch:
        with book.step("pretrain"):
            _train(PretrainRecipe, "pretrain/demo", {"output": out / "pretrained"}, options.pretrain, say)
        init = str(out / "pretrained/captioner")
    for voice in options.voices:
        where = {"init": init, "source.inputs": [str(out / "data/finetune")], "output": out / voice}
        with book.step(f"fine-tune {voice}"):
            _train(FinetuneRecipe, f"finetune/demo-{voice}", where, options.finetune, say)
    recipe = _ensemble(options, init)
    with book.step("caption"):
        made = generate(recipe, show=show)
        rows = sum(counts.rows for counts in made.stored.values())
        say(f"  {rows:,} captions by {len(recipe.members)} members")
    with book.step("measure"):
        run, source = RunDir(out / "captions"), recipe.source.open()
        layers = measure(run, source)
        found = gains(layers, options.voices, references_of(source))
        write(out, found, NOTICE)
        judge = _judge_of(scenes_of(source))
    tables = [section(found), *sections(layers, options.voices), times(book.steps)]
    page = report(run, notes=[NOTICE], sections=tables, judge=judge)
    findings = [finding(layers, voice) for voice in options.voices]
    return Demo(page.path, findings, book.steps, layers, found, out / "voices.md")


def _draw(out: Path, split: str, count: int, per_shard: int, say: Callable[[str], None]) -> None:
    """Draw a set, or find it drawn; a set is there whole or not at all."""
    if out.is_dir():
        say(f"  {out}: {count:,} scenes are drawn already")
        return
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # what a killed start left
    part.parent.mkdir(parents=True, exist_ok=True)
    say(f"  captioners data draw {out} --split {split} --count {count} --per-shard {per_shard}")
    data_draw(DrawOptions(out=part, count=count, split=split, per_shard=per_shard))
    part.rename(out)


def _train(
    model: type[FinetuneRecipe] | type[PretrainRecipe],
    name: str,
    where: Mapping[str, Any],
    overrides: Sequence[str],
    say: Callable[[str], None],
) -> None:
    """Train as a packaged recipe says, or find it done."""
    folder = Path(where["output"])
    if (folder / "captioner").is_dir():
        say(f"  {folder / 'captioner'} is there already")
        return
    job = "pretrain" if model is PretrainRecipe else "finetune"
    values = [f"{key}={json.dumps(value if isinstance(value, list) else str(value))}" for key, value in where.items()]
    recipe = read_options(model, name, [*values, *overrides])
    assert isinstance(recipe, FinetuneRecipe | PretrainRecipe)
    say(f"  captioners {job} {name}")

    def shown(progress: Shown) -> None:
        record, steps = progress.record, progress.steps
        if record.step * _LINES // steps > (record.step - recipe.log_every) * _LINES // steps:
            left = (steps - record.step) * recipe.batch_size / record.samples_per_s
            say(f"  step {record.step:,} of {steps:,}: caption loss {record.caption:.2f}, about {left:,.0f} s left")

    train(recipe, shown, lambda line: say(f"  {line}"))


def _ensemble(options: DemoOptions, init: str) -> GenerateRecipe:
    """Return the packaged ensemble with this demo's folders and voices; one that it has not is captioned greedily."""
    inputs = json.dumps([str(options.out / "data/held-out")])
    where = [f"source.inputs={inputs}", f"output={json.dumps(str(options.out / 'captions'))}"]
    recipe = read_options(GenerateRecipe, "generate/demo", [*where, *options.generate])
    first = recipe.members[0]
    members = [first.model_copy(update={"captioner": init})]
    for voice in options.voices:
        own = [member for member in recipe.members if member.captioner == f"runs/demo/{voice}/captioner"]
        folder = str(options.out / voice / "captioner")
        for member in own or [first.model_copy(update={"name": f"{voice}-greedy"})]:
            members.append(member.model_copy(update={"captioner": folder}))
    return recipe.model_copy(update={"members": members})


def _judge_of(scenes: Mapping[tuple[str, str], Scene]) -> Judge:
    """Return what marks a row's caption on the page."""

    def judge(row: Mapping[str, Any]) -> Mark:
        return judged([row["text"]], scenes[row["shard"], row["key"]]).verdicts[0].outcome

    return judge


def _asked(options: DemoOptions) -> dict[str, Any]:
    """Return what must be the same for an unfinished demo to go on, but for its voices."""
    return {
        "scenes": options.scenes,
        "held_out": options.held_out,
        "from_scratch": options.from_scratch,
        "overrides": [*options.pretrain, *options.finetune, *options.generate],
        "world": WORLD_VERSION,
        "recipes": _recipe_digest("pretrain/demo", "generate/demo"),
        "captioner": _packaged_digest()[:12],
    }


def _recipe_digest(*names: str) -> str:
    recipes = json.dumps([meaning_of(read_recipe(name).options) for name in names], sort_keys=True)
    return sha256(recipes.encode()).hexdigest()[:12]


def _packaged_digest() -> str:
    card = Path(find("demo").origin.where) / "captioner.json"
    return str(json.loads(card.read_text(encoding="utf-8"))["weights_digest"])
