"""Measure an ensemble of voices with one frozen image tower against one voice, on random weights, in turns.

Each side is the whole job (tars, decoding, rules, storing) with its captioners open: one voice; all voices in one pass,
which share the read, the decode and the image encode; and all voices one after the other, which share nothing. The
last two must store the same captions, bit for bit.
"""

import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from captioners.core.errors import NeedsLookError, UserError, near
from captioners.core.run_dir import RunDir
from captioners.data.webdataset_source import WebdatasetOptions
from captioners.decoding.values import Beam, Sample
from captioners.jobs.bench.generate import SIZES, write_shards
from captioners.jobs.bench.report import environment
from captioners.jobs.generate.passes import share_towers
from captioners.jobs.generate.setup import layer_of
from captioners.jobs.generate.worker import Pass, Setting, Task
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.kinds import loading
from captioners.kinds.catalogue import TINY, find
from captioners.kinds.coca import CocaCaptioner
from captioners.models import coca
from captioners.text.flags import Rules
from captioners.text.tokenizer import load_tokenizer

_IMAGES = {"L-14": 12, "B-32": 48, "tiny": 200}
Digests = dict[tuple[str, str, int], str]


@dataclass(frozen=True, kw_only=True)
class BenchEnsembleOptions:
    """What to measure."""

    size: str = "L-14"
    """One of `SIZES`."""
    voices: int = 4
    images: int | None = None
    draws: int = 2
    """Captions of each image by each voice."""
    tokens: int = 20
    """Content tokens of a caption, at most."""
    rounds: int = 2
    out: Path | None = None


@dataclass(frozen=True)
class Side:
    """Seconds of one side in one round, and those of them that went into encoding images."""

    seconds: float
    encoding: float


@dataclass(frozen=True)
class Round:
    """The sides of one round."""

    one: Side
    """One voice."""
    shared: Side
    """All voices in one pass."""
    apart: Side
    """All voices, one after the other."""


@dataclass
class EnsembleReport:
    """What was measured."""

    size: str
    voices: int
    images: int
    draws: int
    environment: dict[str, Any]
    rounds: list[Round] = field(default_factory=list)

    def median(self, ratio: Callable[[Round], float]) -> float:
        """Return a ratio's median over the rounds."""
        return statistics.median(map(ratio, self.rounds))

    @property
    def ratio(self) -> float:
        """The time of all voices in one pass over one voice's; equal to their number where nothing is shared."""
        return self.median(lambda took: took.shared.seconds / took.one.seconds)

    def lines(self) -> list[str]:
        """Return what people read."""
        encoding = self.median(lambda took: took.one.encoding / took.one.seconds)
        saved = self.median(lambda took: took.apart.seconds / took.shared.seconds)
        encodes = self.median(lambda took: took.shared.encoding / took.one.encoding)
        return [
            f"{self.size}: {self.images} images x {self.draws} draws, {self.voices} voices of one image tower, "
            f"{len(self.rounds)} rounds in turns",
            f"{self.voices} voices in one pass take {self.ratio:.2f} x the time of one (encoding {encodes:.2f} x); "
            f"one after the other they take {saved:.2f} x as long as together",
            f"of one voice's time {encoding:.0%} is encoding",
        ]


def bench_ensemble(options: BenchEnsembleOptions, say: Callable[[str], None]) -> tuple[EnsembleReport, Path]:
    """Run the rounds, telling each, and return the report and its run directory.

    Raises:
        UserError: no such size. NeedsLookError: voices together stored other captions than one after the other.
    """
    import torch

    if options.size not in SIZES:
        raise UserError(f"no size is named '{options.size}'.{near(options.size, SIZES)} Known: {', '.join(SIZES)}")
    count = options.images or _IMAGES[options.size]
    folder = options.out or Path("runs") / time.strftime("bench-ensemble-%Y%m%d-%H%M%S")
    write_shards(folder / "shards", count)
    decoding = Sample(top_k=50, max_tokens=options.tokens, min_tokens=min(5, options.tokens))
    recipe = GenerateRecipe(
        source=WebdatasetOptions(inputs=[str(folder / "shards")]),
        members=[
            Member(captioner=f"voice-{number}", name=f"voice-{number}", draws=options.draws, decoding=decoding)
            for number in range(options.voices)
        ],
        rules=Rules(retries=0),
    )
    captioners = voices(options.size, options.voices)
    share_towers(captioners)
    for captioner in captioners:
        captioner.open()
    report = EnsembleReport(options.size, options.voices, count, options.draws, environment(torch.get_num_threads()))
    everyone = tuple(range(options.voices))
    for number in range(options.rounds):
        one, _ = _side(recipe, captioners, [(0,)], folder / "run")
        shared, together = _side(recipe, captioners, [everyone], folder / "run")
        apart, separate = _side(recipe, captioners, [(voice,) for voice in everyone], folder / "run")
        if together != separate:
            raise NeedsLookError("voices that shared an image encode stored other captions than each by itself")
        report.rounds.append(Round(one, shared, apart))
        say(
            f"round {number + 1}: one voice {one.seconds:.2f} s, {options.voices} in one pass {shared.seconds:.2f} s, "
            f"one after the other {apart.seconds:.2f} s"
        )
    shutil.rmtree(folder / "shards")
    (folder / "bench.json").write_text(json.dumps({**asdict(report), "ratio": report.ratio}, indent=1) + "\n")
    return report, folder


def voices(size: str, count: int) -> list[CocaCaptioner]:
    """Return captioners with one image tower and text sides of their own, all random."""
    known = find(SIZES[size])
    config = dict(TINY) if size == "tiny" else coca.architecture(known.origin.model)
    models: list[Any] = []
    for seed in range(count):
        models.append(coca.build(config, seed))
        models[-1].visual = models[0].visual
    tokenizer = load_tokenizer(config, None)
    return [
        CocaCaptioner(known, loaded=loading.Loaded(coca.LoadedCoCa(model, config), tokenizer, known.licences, Beam()))
        for model in models
    ]


def _side(
    recipe: GenerateRecipe, captioners: Sequence[CocaCaptioner], passes: Sequence[tuple[int, ...]], folder: Path
) -> tuple[Side, Digests]:
    """Run the passes with captioners that are open; return their time and the digests of what they stored."""
    members = [(member, captioner) for member, captioner in zip(recipe.members, captioners, strict=True)]
    layers = {member.called: layer_of(recipe, member, captioner) for member, captioner in members}
    setting = Setting(
        recipe=recipe, run=str(folder), unit_samples=recipe.unit_samples, layers=layers, passes=tuple(passes)
    )
    shards = recipe.source.open().shards()
    before, start = sum(captioner.encode_seconds for captioner in captioners), time.perf_counter()
    for number, together in enumerate(passes):
        tasks = iter([Task(number, shard) for shard in shards])
        Pass(setting, number, [captioners[voice] for voice in together], lambda _: None).run(tasks, lambda _: None)
    seconds = time.perf_counter() - start
    encoding = sum(captioner.encode_seconds for captioner in captioners) - before
    digests = {(entry.layer, entry.shard, entry.part): entry.digest for entry in RunDir(folder).ledger.entries()}
    shutil.rmtree(folder)
    return Side(seconds, encoding), digests
