"""The whole loop in minutes: draw a world, fine-tune two voices, caption held-out scenes, measure, look.

runs/demo/
    demo.json          what was asked for, and how long each step took
    data/finetune/     shards to learn from; data/held-out/: shards to caption
    pretrained/        with `from_scratch` only: a captioner made here instead of the packaged one
    short/ detailed/   the fine-tuned voices
    captions/          the ensemble's captions and report.html

Each step is a command of its own with a recipe of its own, which is said before it runs. What is done stays done.
"""

import json
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.core.options import meaning_of
from captioners.core.progress import Progress
from captioners.core.recipe import read_options, read_recipe
from captioners.core.run_dir import RunDir
from captioners.data.drawn_scene import WORLD_VERSION, Scene
from captioners.jobs.data_draw import DrawOptions, data_draw
from captioners.jobs.demo_measure import Layer, finding, judged, measure, scenes_of, sections
from captioners.jobs.finetune_recipe import FinetuneRecipe
from captioners.jobs.generate import generate
from captioners.jobs.generate_recipe import GenerateRecipe
from captioners.jobs.pretrain_recipe import PretrainRecipe
from captioners.jobs.report import Judge, report
from captioners.jobs.train import train
from captioners.kinds.catalogue import find
from captioners.report.page import Mark, Section
from captioners.training.shown import Shown

NOTICE = "drawn world: proves the pipeline, not magnitudes"
VOICES = ("short", "detailed")
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
    pretrain: tuple[str, ...] = ()
    """Overrides of the recipe pretrain/demo; `finetune` and `generate` likewise."""
    finetune: tuple[str, ...] = ()
    generate: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """How long one step took, in seconds."""

    name: str
    wall: float
    cpu: float
    """Of this process and its children, all cores together."""


@dataclass
class Demo:
    """What a demo found."""

    page: str
    findings: list[str]
    steps: list[Step]
    """Of this start and, where they were done earlier, of that one."""
    layers: dict[str, Layer]


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
    book = _Book(options, say)
    with book.step("draw"):
        _draw(out / "data/finetune", "finetune", options.scenes, 1000, say)
        _draw(out / "data/held-out", "caption", options.held_out, 100, say)  # a share for each worker
    init = "demo"
    if options.from_scratch:
        with book.step("pretrain"):
            _train(PretrainRecipe, "pretrain/demo", {"output": out / "pretrained"}, options.pretrain, say)
        init = str(out / "pretrained/captioner")
    for voice in VOICES:
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
        judge = _judge_of(scenes_of(source))
    tables = [*sections(layers, VOICES), _times(book.steps)]
    page = report(run, notes=[NOTICE], sections=tables, judge=judge)
    return Demo(page.path, [finding(layers, voice) for voice in VOICES], book.steps, layers)


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
    """Return the packaged ensemble with this demo's folders."""
    inputs = json.dumps([str(options.out / "data/held-out")])
    where = [f"source.inputs={inputs}", f"output={json.dumps(str(options.out / 'captions'))}"]
    recipe = read_options(GenerateRecipe, "generate/demo", [*where, *options.generate])
    folders = {"demo": init} | {
        f"runs/demo/{voice}/captioner": str(options.out / voice / "captioner") for voice in VOICES
    }
    members = [member.model_copy(update={"captioner": folders[member.captioner]}) for member in recipe.members]
    return recipe.model_copy(update={"members": members})


def _judge_of(scenes: Mapping[tuple[str, str], Scene]) -> Judge:
    """Return what marks a row's caption on the page."""

    def judge(row: Mapping[str, Any]) -> Mark:
        return judged([row["text"]], scenes[row["shard"], row["key"]]).verdicts[0].outcome

    return judge


def _times(steps: Sequence[Step]) -> Section:
    return Section(
        title="How long it took",
        text="Seconds of each step on this machine, where it was done. CPU seconds are those of all cores together; "
        "they hardly grow when other programs keep the machine busy.",
        columns=("step", "seconds", "CPU seconds"),
        rows=[(step.name, f"{step.wall:,.0f}", f"{step.cpu:,.0f}") for step in steps],
    )


class _Book:
    """What was asked of a demo and how long its steps took, on disk, so that a later start knows both."""

    def __init__(self, options: DemoOptions, say: Callable[[str], None]) -> None:
        self._file, self._say = options.out / "demo.json", say
        self._total = 5 + options.from_scratch
        self._began = 0
        asked = _asked(options)
        self._kept: dict[str, Any] = {"asked": asked, "steps": {}}
        if self._file.is_file():
            self._kept = _read(self._file)
            changed = [name for name, value in asked.items() if self._kept["asked"].get(name) != value]
            if changed:
                what = ", ".join(changed)
                raise UserError(f"{options.out}: holds a demo with another {what}; remove it, or name another --output")
        elif options.out.is_dir() and any(options.out.iterdir()):
            raise UserError(f"{options.out}: the folder is not empty and holds no demo; name another --output")
        options.out.mkdir(parents=True, exist_ok=True)
        self._write()

    @property
    def steps(self) -> list[Step]:
        """Those that were done, in order."""
        return [Step(name, about["wall"], about["cpu"]) for name, about in self._kept["steps"].items()]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say that a step begins, and how long it took; a step that an earlier start finished keeps its time."""
        self._began += 1
        self._say(f"{self._began}/{self._total} {name}")
        about = self._kept["steps"].setdefault(name, {"wall": 0.0, "cpu": 0.0, "finished": False})
        before = about.copy()
        wall, cpu = time.perf_counter(), _cpu_seconds()
        try:
            yield
            about["finished"] = True
        finally:
            if not before["finished"]:
                about["wall"] = before["wall"] + time.perf_counter() - wall
                about["cpu"] = before["cpu"] + _cpu_seconds() - cpu
            self._write()
        if not before["finished"]:
            self._say(f"  {about['wall']:,.0f} s ({about['cpu']:,.0f} s of CPU time)")

    def _write(self) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self._kept, indent=1) + "\n", encoding="utf-8")
        part.replace(self._file)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {"asked": dict(found["asked"]), "steps": dict(found["steps"])}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: damaged; remove the folder, or name another --output") from None


def _asked(options: DemoOptions) -> dict[str, Any]:
    """Return what must be the same for an unfinished demo to go on."""
    names = ("pretrain/demo", *(f"finetune/demo-{voice}" for voice in VOICES), "generate/demo")
    recipes = json.dumps([meaning_of(read_recipe(name).options) for name in names], sort_keys=True)
    return {
        "scenes": options.scenes,
        "held_out": options.held_out,
        "from_scratch": options.from_scratch,
        "overrides": [*options.pretrain, *options.finetune, *options.generate],
        "world": WORLD_VERSION,
        "recipes": sha256(recipes.encode()).hexdigest()[:12],
        "captioner": _packaged_digest()[:12],
    }


def _packaged_digest() -> str:
    card = Path(find("demo").origin.where) / "captioner.json"
    return str(json.loads(card.read_text(encoding="utf-8"))["weights_digest"])


def _cpu_seconds() -> float:
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)
