"""Measure our training step against open_clip's model and loss, in turns, in one process, on the same random weights.

Both sides have the same optimizer, the same captions of 11 to 15 tokens as COCO's are, and the whole objective (caption
loss x 2, contrastive loss x 1). Before the clock starts their losses and gradients are compared. Peak memory is that of
processes of their own.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor

from captioners.core.errors import NeedsLookError
from captioners.data.batches import Batch
from captioners.jobs.bench.report import environment
from captioners.jobs.bench.train_report import CaseResult, Report, agreement_line, round_line, write
from captioners.models import coca
from captioners.models.coca_training import ImageFeatures, encode_images
from captioners.training.devices import accelerator_for
from captioners.training.gradients import GlobalGradient
from captioners.training.objective import CoCaObjective
from captioners.training.optimizer import make_optimizer, set_learning_rate, trained_parameters
from captioners.training.ranks import Ranks

SIZES = {"B-32": "coca_ViT-B-32", "L-14": "coca_ViT-L-14"}
Side = Literal["open_clip", "ours"]
_LEAST, _MOST = 11, 15
"""Tokens of a caption, start and end included."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is timed."""

    name: str
    size: str
    context: int
    images: int
    captions: int = 1
    """Of each image; open_clip encodes the image again for each."""
    what: Literal["gradient", "step", "frozen"] = "gradient"
    """Forward and backward; with the optimizer; or the latter with the image tower frozen, and its features cached."""
    goal: float | None = None
    """How many times faster ours is to be."""
    config: coca.Config | None = None
    """An architecture instead of the size's."""

    @property
    def text(self) -> str:
        """What people read."""
        what = {
            "gradient": "forward + backward",
            "step": "whole step",
            "frozen": "whole step, image tower frozen (ours: features cached)",
        }[self.what]
        several = f" x {self.captions} captions" if self.captions > 1 else ""
        return f"{self.size}, {self.images} images{several}, context {self.context}, {what}"


CASES = (
    Case(name="b32-76", size="B-32", context=76, images=8, goal=1.8),
    Case(name="b32-254", size="B-32", context=254, images=8, goal=4.0),
    Case(name="b32-step", size="B-32", context=76, images=8, what="step"),
    Case(name="b32-frozen", size="B-32", context=76, images=8, what="frozen"),
    Case(name="l14-76", size="L-14", context=76, images=2, goal=1.0),
    Case(name="l14-254", size="L-14", context=254, images=2, goal=1.6),
    Case(name="l14-step", size="L-14", context=76, images=2, what="step"),
    Case(name="l14-frozen", size="L-14", context=76, images=2, what="frozen"),
    Case(name="l14-captions", size="L-14", context=76, images=2, captions=5, goal=3.0),
)


@dataclass(frozen=True, kw_only=True)
class BenchTrainOptions:
    """What to measure."""

    cases: tuple[Case, ...] = CASES
    rounds: int = 3
    memory: bool = True
    """Measure peak memory, too, in processes of their own."""
    threads: int | None = None
    out: Path | None = None


def bench_train(options: BenchTrainOptions, say: Callable[[str], None]) -> tuple[Report, Path]:
    """Run the cases, telling each round as it ends, and return the report and its run directory.

    Raises:
        NeedsLookError: the sides' losses or gradients differ, so their times would compare different work.
    """
    run = options.out or Path("runs") / time.strftime("bench-train-%Y%m%d-%H%M%S")
    run.mkdir(parents=True, exist_ok=True)
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads or before)
    try:
        report = Report(environment(torch.get_num_threads()))
        for case in options.cases:
            found = CaseResult(case.name, case.text, case.images * case.captions, case.goal)
            report.cases.append(found)
            if options.memory:
                for side in ("open_clip", "ours"):
                    found.peak[side] = _peak_apart(case, side)
            with accelerator_for("cpu", "fp32") as accelerator:
                sides = Sides(case, accelerator)
                found.loss, found.gradient = sides.compare()
                say(agreement_line(found))
                if not found.agrees:
                    raise NeedsLookError(f"{case.name}: ours and open_clip's loss or gradient differ; see {run}")
                for _ in range(options.rounds):
                    found.rounds.append((sides.seconds("open_clip"), sides.seconds("ours")))
                    say(round_line(found))
                del sides  # or its memory would be missing when the next case's peak is measured
            write(report, run)
        return report, run
    finally:
        torch.set_num_threads(before)


class Sides:
    """One model with an optimizer, and both ways to train it."""

    def __init__(self, case: Case, accelerator: Accelerator) -> None:
        self.case = case
        config = case.config or _stretched(coca.architecture(SIZES[case.size]), case.context)
        self.model: Any = coca.build(config).train()
        objective = CoCaObjective()
        tune = "text" if case.what == "frozen" else "all"
        self.parameters = trained_parameters(self.model, objective.untrained(self.model, tune))  # type: ignore[arg-type]
        self._optimizer = make_optimizer(self.parameters, weight_decay=0.1)
        set_learning_rate(self._optimizer, 1e-6)
        self.batch, self._repeated = _batch(case, config)
        self._gradient = GlobalGradient(
            self.model,
            objective,
            self.parameters,
            _Cached(self.model, self.batch) if case.what == "frozen" else lambda pixels: pixels,
            ranks=Ranks(accelerator),
            micro_batch=case.images,
        )
        from open_clip.loss import CoCaLoss

        self._loss = CoCaLoss(objective.caption_weight, objective.contrastive_weight)

    def compare(self) -> tuple[float, float | None]:
        """Return by how much the losses differ, relatively, and any gradient, relative to its tensor's largest.

        With several captions an image the contrastive losses are two different ones (ours does not call an image's
        other captions wrong), so the caption losses are compared alone.
        """
        theirs = self._open_clip()
        wanted = {name: p.grad for name, p in self.parameters.items()}
        self._forget()
        ours = self._ours()
        if self.case.captions > 1:
            self._forget()
            return abs(ours[0] - theirs[0]) / abs(theirs[0]), None
        worst = 0.0
        for name, parameter in self.parameters.items():
            one, other = parameter.grad, wanted[name]
            assert one is not None
            assert other is not None
            worst = max(worst, float((one - other).abs().max() / other.abs().max().clamp(min=1e-8)))
        self._forget()
        return abs(sum(ours) - sum(theirs)) / abs(sum(theirs)), worst

    def seconds(self, side: Side) -> float:
        """Return the seconds of one forward and backward pass, and of the optimizer's step where it is asked for."""
        began = time.perf_counter()
        self._ours() if side == "ours" else self._open_clip()
        if self.case.what != "gradient":
            self._optimizer.step()
        spent = time.perf_counter() - began
        self._forget()
        return spent

    def _open_clip(self) -> tuple[float, float]:
        """Return its weighted caption and contrastive loss."""
        images, text = self._repeated
        out = self.model(images, text)
        names = ("image_features", "text_features", "logits", "labels", "logit_scale")
        contrastive, caption = self._loss(*(out[name] for name in names))
        (caption + contrastive).backward()
        return caption.item(), contrastive.item()

    def _ours(self) -> tuple[float, float]:
        losses = self._gradient(self.batch)
        weights = self._gradient.objective
        return weights.caption_weight * losses.caption, weights.contrastive_weight * losses.contrastive

    def _forget(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)


class _Cached:
    """The frozen tower's features of a batch."""

    def __init__(self, model: Any, batch: Batch) -> None:
        with torch.no_grad():
            self._all = encode_images(model, batch.pixels)

    def __getitem__(self, images: Tensor) -> ImageFeatures:
        assert self._all.pooled is not None
        return ImageFeatures(self._all.tokens[images], self._all.pooled[images])


def peak(case: str, side: Side) -> None:
    """Print the peak memory in bytes of two steps of one side: the whole of a process started for this.

    `case` is JSON of a `Case`.
    """
    with accelerator_for("cpu", "fp32") as accelerator:
        sides = Sides(Case(**json.loads(case)), accelerator)
        for _ in range(2):
            sides.seconds(side)
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    sys.stdout.write(f"{1024 * int(next(line.split()[1] for line in lines if line.startswith('VmHWM')))}\n")


def _peak_apart(case: Case, side: str) -> int | None:
    """Return `peak` of a process of its own; None where the system does not tell, or the memory does not suffice."""
    if not Path("/proc/self/status").exists():
        return None
    program = f"import torch; torch.set_num_threads({torch.get_num_threads()}); "
    program += "import sys; from captioners.jobs.bench.train import peak; peak(*sys.argv[1:])"
    # Its own optimizer state is part of what training takes, whatever the case times.
    whole = replace(case, what="step") if case.what == "gradient" else case
    ended = subprocess.run(  # noqa: S603  # this Python, on this module
        [sys.executable, "-c", program, json.dumps(asdict(whole)), side], check=False, capture_output=True, text=True
    )
    if ended.returncode == -signal.SIGKILL:  # the kernel's answer to memory that runs out
        return None
    ended.check_returncode()
    return int(ended.stdout.split()[-1])


def _stretched(config: coca.Config, context: int) -> coca.Config:
    for part in ("text_cfg", "multimodal_cfg"):
        config[part] = {**config[part], "context_length": context}
    return config


def _batch(case: Case, config: coca.Config) -> tuple[Batch, tuple[Tensor, Tensor]]:
    """Return our batch, and open_clip's images and padded captions, an image for each caption."""
    generator = torch.Generator().manual_seed(0)
    side, vocabulary = config["vision_cfg"].get("image_size", 224), config["text_cfg"]["vocab_size"]
    rows = case.images * case.captions
    images = torch.randn(case.images, 3, side, side, generator=generator)
    text = torch.zeros(rows, case.context, dtype=torch.long)
    for row in text:
        length = int(torch.randint(_LEAST, _MOST + 1, (1,), generator=generator))
        row[:length] = torch.randint(1, vocabulary - 2, (length,), generator=generator)
        row[0], row[length - 1] = vocabulary - 2, vocabulary - 1
    owner = torch.arange(rows) // case.captions
    keys = tuple(str(number) for number in range(case.images))
    batch = Batch(keys, images, text[:, :_MOST], owner, torch.arange(case.images))
    return batch, (images[owner], text)
