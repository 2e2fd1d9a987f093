"""Measure our decoding engine against open_clip's `CoCa.generate` in one run, in turns, on random weights.

Both sides load the same weights, use the same number of threads, write captions of full length (the end token is
banned) and are timed from images in memory to token ids. The peer is given its best case: all draws in one batch.
"""

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captioners.core.errors import CaptionersError, NeedsLookError, UserError, near
from captioners.jobs.bench.report import (
    Agreement,
    CaseResult,
    Report,
    Round,
    environment,
    integrate,
    measure_machine,
    round_line,
    write,
)
from captioners.jobs.bench.sides import Case, Ours, Peer
from captioners.models import coca
from captioners.models.cost import Cost, Machine, cost_of

SIZES = {"L-14": "coca_ViT-L-14", "B-32": "coca_ViT-B-32"}
CASES = (
    Case(name="draws-20", images=4, draws=5, steps=20, rounds=2),
    # open_clip's seq_len of at most 77 counts the start token: 76 forward passes, the whole context of both sides.
    Case(name="draws-77", images=4, draws=5, steps=76, measure="steps", at=(1, 19, 38, 57, 76)),
    Case(name="beams-20", images=4, beams=6, steps=20),
    Case(name="users-20", images=16, draws=5, steps=20, measure="call"),
    Case(name="draws-255", images=4, draws=5, steps=255, measure="steps", at=(1, 76, 140, 255)),
)
_CHECKED = 4
"""Images of the agreement check."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure."""

    size: str = "L-14"
    config: coca.Config | None = None
    """An architecture instead of the size's."""
    cases: tuple[Case, ...] = CASES
    rounds: int | None = None
    """Rounds of every case; None: each case's own."""
    threads: int | None = None
    """Of both sides; None: torch's own choice."""
    full: bool = False
    """Measure what is otherwise estimated, where the model's context allows it."""
    peer: Path | None = Path(".peer-venv")
    """The peer's environment; None: measure ours alone."""
    out: Path | None = None


def bench_decode(options: BenchOptions, say: Callable[[str], None]) -> tuple[Report, Path]:
    """Run the cases, telling each round as it ends, and return the report and its run directory.

    Raises:
        UserError: no such size, no peer environment, a thread policy that spoils turns.
        NeedsLookError: the sides disagree.
    """
    if os.environ.get("OMP_WAIT_POLICY", "").lower() == "active":
        raise UserError(
            "OMP_WAIT_POLICY=active lets the waiting side's threads hold the cores the other is timed on; unset it"
        )
    if options.config is None and options.size not in SIZES:
        raise UserError(f"no size is named '{options.size}'.{near(options.size, SIZES)} Known: {', '.join(SIZES)}")
    config = options.config or coca.architecture(SIZES[options.size])
    run = options.out or Path("runs") / time.strftime("bench-decode-%Y%m%d-%H%M%S")
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads or before)
    try:
        run.mkdir(parents=True, exist_ok=True)
        peer = Peer(options.peer, run / "peer.log") if options.peer else None
        try:
            report = _Bench(options, config, peer, run, say).run()
        finally:
            if peer:
                peer.close()
    finally:
        torch.set_num_threads(before)
    if report.agreement and not report.agreement.good:
        raise NeedsLookError(
            f"our engine and open_clip do not agree, so the times compare different work; see {run / 'bench.md'}"
        )
    return report, run


class _Bench:
    """One run: both sides loaded, cases in order, rounds in turns."""

    def __init__(
        self, options: BenchOptions, config: coca.Config, peer: Peer | None, run: Path, say: Callable[[str], None]
    ) -> None:
        self.options, self.config, self.peer, self.folder, self.say = options, config, peer, run, say
        vocabulary = config["text_cfg"]["vocab_size"]
        self.ids = (vocabulary - 2, vocabulary - 1)  # CLIP's start and end
        self.context = int(config["text_cfg"]["context_length"])

    def run(self) -> Report:
        threads = torch.get_num_threads()
        report = Report(self.options.size, environment(threads), measure_machine())
        images = _images(self.config, max(_CHECKED, *(case.images for case in self.options.cases)))
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="weights-") as folder:
            _write(self.config, Path(folder), images)
            if self.peer:
                self.say("loading the peer")
                loaded = self.peer.ask(
                    "load", folder=folder, images=f"{folder}/images.pt", threads=threads, ids=self.ids
                )
                report.environment["peer"] = loaded
            self.loaded = coca.load_directory(folder)
            if self.peer:
                report.agreement = self._agree(images[:_CHECKED], Path(folder))
        cost = cost_of(self.loaded.model)
        for case in self.options.cases:
            report.cases.append(self._case(case, images, cost, report))
            write(report, self.folder)
        report.machine = _better(report.machine, measure_machine())
        for case, found in zip(self.options.cases, report.cases, strict=True):
            found.floor, found.floor_encode = _floors(case, cost, report.machine)
        write(report, self.folder)
        return report

    def _agree(self, images: Tensor, folder: Path) -> Agreement:
        assert self.peer
        ours = Ours(self.loaded, self.ids, exact=True)
        steps = min(20, self.context)
        ids = torch.randint(1, self.ids[0], (len(images), steps), generator=torch.Generator().manual_seed(0))
        ids[:, 0] = self.ids[0]
        self.peer.ask("logits", ids=ids.tolist(), to=str(folder / "logits.pt"))
        theirs = torch.load(folder / "logits.pt", weights_only=True)
        greedy = self.peer.ask("generate", images=len(images), copies=1, steps=steps, greedy=True)["ids"]
        # Theirs begin with the start token, and their last token was overwritten with the end token.
        same = [list(a[: steps - 1]) == b[1:steps] for a, b in zip(ours.greedy(images, steps), greedy, strict=True)]
        difference = float((ours.logits(images, ids) - theirs).abs().max())
        found = Agreement(difference, sum(same), len(images), steps - 1)
        self.say(f"agreement: logits within {difference:.1e}, greedy ids equal for {sum(same)} of {len(images)} images")
        return found

    def _case(self, case: Case, images: Tensor, cost: Cost, report: Report) -> CaseResult:
        loaded, beyond = self.loaded, case.steps > self.context
        whole = case.measure == "whole" or (self.options.full and not beyond)
        if beyond:
            loaded = coca.resize_context(loaded, case.steps)
            if self.peer:
                self.peer.ask("stretch", context=case.steps)
        how = "not asked" if not self.peer else "measured" if whole else _how(case)
        found = CaseResult(case.name, _what(case), how, *_floors(case, cost, report.machine))
        exact = Ours(loaded, self.ids, exact=True).prepare(case, images)
        plain = Ours(loaded, self.ids, exact=False).prepare(case, images)
        for _ in range(self.options.rounds or case.rounds):
            peer = self._peer_seconds(case, whole) if self.peer else None
            timing = exact()
            # Past the context exact mode costs what it costs before; a third run of that length would only take time.
            other = None if beyond and not self.options.full else plain().total
            found.rounds.append(Round(peer, timing.total, timing.encode, other))
            self.say(round_line(found))
        return found

    def _peer_seconds(self, case: Case, whole: bool) -> float:
        assert self.peer
        if whole:
            answer = self.peer.ask(
                "generate",
                images=case.images,
                copies=1 if case.beams else case.draws,
                steps=case.steps,
                beams=case.beams,
            )
            if len(answer["ids"][0]) != case.steps + 1:
                raise CaptionersError(
                    f"{case.name}: the peer wrote {len(answer['ids'][0])} tokens, not {case.steps + 1}"
                )
            return float(answer["seconds"])
        if case.measure == "call":
            return case.draws * float(
                self.peer.ask("generate", images=case.images, copies=1, steps=case.steps)["seconds"]
            )
        rows = {"images": case.images, "copies": case.copies}
        encode = float(self.peer.ask("encode", **rows)["seconds"])
        costs = {prefix: float(self.peer.ask("step", **rows, prefix=prefix)["seconds"]) for prefix in case.at}
        return encode + integrate(costs, case.steps)


def _how(case: Case) -> str:
    if case.measure == "call":
        return f"estimated: one of its {case.draws} calls of one draw an image measured, times {case.draws}"
    return f"interpolated: encoding and the steps at {', '.join(map(str, case.at))} tokens measured"


def _what(case: Case) -> str:
    rows = f"{case.beams} beams" if case.beams else f"{case.draws} draws"
    return f"{case.images} images x {rows}, {case.steps} steps"


def _floors(case: Case, cost: Cost, machine: Machine) -> tuple[float, float]:
    whole = cost.floor(machine, images=case.images, rows=case.rows, steps=case.steps)
    return whole, case.images * cost.encode / machine.gflops / 1e9


def _better(one: Machine, other: Machine) -> Machine:
    return Machine(max(one.gflops, other.gflops), max(one.gbytes, other.gbytes))


def _images(config: Mapping[str, Any], count: int) -> Tensor:
    size = config["vision_cfg"].get("image_size", 224)
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def _write(config: coca.Config, folder: Path, images: Tensor) -> None:
    """Write random weights of this architecture in open_clip's local form, and the images."""
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in coca.build(config).state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    whole = {"model_cfg": {**config, "custom_text": True}, "preprocess_cfg": dict(coca.PREPROCESS)}
    (folder / "open_clip_config.json").write_text(json.dumps(whole), encoding="utf-8")
    torch.save(images, folder / "images.pt")
