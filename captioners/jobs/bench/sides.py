"""The sides of `captioners bench decode`: our engine here, open_clip's `generate` in a process of its environment."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captioners.core.errors import CaptionersError, UserError
from captioners.core.seeds import Stream
from captioners.decoding.values import Beam, Sample
from captioners.engine.engine import Engine
from captioners.engine.job import Job
from captioners.engine.plan import CPU_SLOTS
from captioners.models.arithmetic import TILE, Arithmetic, Exact, Plain
from captioners.models.coca import LoadedCoCa
from captioners.models.coca_step import CoCaStep
from captioners.models.tower import encode_exactly


@dataclass(frozen=True, kw_only=True)
class Case:
    """One task both sides do: every caption has `steps` decoding steps, the end token being banned."""

    name: str
    images: int
    draws: int = 1
    """Sampled captions per image (top_p 0.9), if not beams."""
    beams: int = 0
    steps: int
    rounds: int = 1
    measure: str = "whole"
    """The peer's seconds, unless in full: the `whole`; one `call` of one draw, times `draws`; from times of `steps`."""
    at: tuple[int, ...] = ()
    """Prefix lengths whose steps are timed."""

    @property
    def copies(self) -> int:
        """Rows per image."""
        return self.beams or self.draws

    @property
    def rows(self) -> int:
        """Rows of all images."""
        return self.images * self.copies


@dataclass(frozen=True)
class Timing:
    """Seconds of one run of ours."""

    total: float
    encode: float
    """Of these, in the image tower."""


class Ours:
    """Our engine over a CoCa, with exact arithmetic or the library's own."""

    def __init__(self, loaded: LoadedCoCa, ids: tuple[int, int], *, exact: bool) -> None:
        self.loaded, self.ids, self.exact = loaded, ids, exact
        model: Any = loaded.model
        self._tower: Callable[[Tensor], Tensor] = (
            (lambda images: encode_exactly(model.visual, images))
            if exact
            else (lambda images: model._encode_image(images)[1])
        )
        self._encoding = 0.0

    def _encode(self, images: Tensor) -> Tensor:
        began = time.perf_counter()
        tokens = self._tower(images)
        self._encoding += time.perf_counter() - began
        return tokens

    def _step(self, slots: int, memories: int) -> CoCaStep:
        arithmetic: Arithmetic = Exact() if self.exact else Plain()
        longest = self.loaded.context_length
        return CoCaStep(self.loaded.model, slots=slots, memories=memories, max_tokens=longest, arithmetic=arithmetic)

    def prepare(self, case: Case, images: Tensor) -> Callable[[], Timing]:
        """Reserve what the case needs and return what runs it once."""
        engine = Engine(
            self._step(CPU_SLOTS, min(case.images, CPU_SLOTS)),
            self._encode,
            start_id=self.ids[0],
            end_id=self.ids[1],
            length=case.steps,
            encode_batch=4,
        )
        jobs = [_job(case, index, image) for index, image in enumerate(images[: case.images])]

        def run() -> Timing:
            self._encoding, before = 0.0, engine.steps
            began = time.perf_counter()
            captions = list(engine.run(jobs))
            total = time.perf_counter() - began
            lengths = {len(caption.tokens) for caption in captions}
            wanted = case.images if case.beams else case.rows
            if lengths != {case.steps} or len(captions) != wanted:
                raise CaptionersError(
                    f"{case.name}: {len(captions)} captions of {lengths} tokens, not {wanted} of {case.steps}"
                )
            if case.rows <= CPU_SLOTS and engine.steps - before != case.steps:
                raise CaptionersError(f"{case.name}: {engine.steps - before} steps were run, not {case.steps}")
            return Timing(total, self._encoding)

        return run

    def greedy(self, images: Tensor, steps: int) -> list[tuple[int, ...]]:
        """Return the likeliest token at each step, one row an image."""
        case = Case(name="greedy", images=len(images), steps=steps)
        step = self._step(CPU_SLOTS, len(images))
        engine = Engine(step, self._encode, start_id=self.ids[0], end_id=self.ids[1], length=steps)
        jobs = [_job(case, index, image, top_k=1) for index, image in enumerate(images)]
        return [caption.tokens for caption in sorted(engine.run(jobs), key=lambda caption: caption.key)]

    @torch.inference_mode()
    def logits(self, images: Tensor, ids: Tensor) -> Tensor:
        """Return the logits [B, T, V] after each of ids [B, T], fed one at a time to one row an image."""
        step = self._step(TILE, len(images))
        for row, tokens in enumerate(self._encode(images)):
            step.remember(row, tokens)
            step.admit([row], row)
        rows = TILE if self.exact else len(images)
        padded = torch.nn.functional.pad(ids, (0, 0, 0, rows - len(ids)))
        fed = [step.step(padded[:, age].clone(), age, len(images), 1)[: len(ids)] for age in range(ids.shape[1])]
        return torch.stack(fed, dim=1)


def _job(case: Case, index: int, image: Tensor, top_k: int | None = None) -> Job:
    limits: dict[str, Any] = {"min_tokens": case.steps, "max_tokens": case.steps}
    if case.beams:
        return Job(key=index, image=image, draws=1, decoding=Beam(width=case.beams, **limits), limit=case.steps)
    sample = Sample(top_k=top_k, **limits) if top_k else Sample(top_p=0.9, **limits)
    stream = Stream(0, f"bench {index}")
    numbers = [torch.from_numpy(stream.uniforms(draw, 0, case.steps)) for draw in range(case.draws)]
    return Job(
        key=index, image=image, draws=case.draws, decoding=sample, limit=case.steps, uniforms=torch.stack(numbers)
    )


class Peer:
    """The worker in the peer's environment; `ask` waits for its answer."""

    def __init__(self, environment: Path, log: Path) -> None:
        python = environment / "bin" / "python"
        if not python.exists():
            raise UserError(
                f"no peer environment at {environment}; 'make peer' makes it (minutes, 6 GB), --alone measures without"
            )
        self._log = log
        script = Path(__file__).with_name("peer.py")
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - the user names it
                [python, "-I", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and return its answer.

        Raises:
            CaptionersError: the peer failed or died; says how, in its own words.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise CaptionersError(
                f"the peer died at '{op}': {said[-1] if said else 'it said nothing'} (see {self._log})"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise CaptionersError(f"the peer failed at '{op}': {answer['error']}")
        return answer

    def close(self) -> None:
        """End the worker."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # what it died of was told by `ask`
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
