"""The kind `coca`: our decoding engine over any open_clip CoCa."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from captioners.core.errors import CaptionersError, UserError
from captioners.decoding.values import Beam, Sample, draws_problem
from captioners.engine import ENGINE_SEMANTICS
from captioners.engine.engine import Engine
from captioners.engine.graph import GraphedStep
from captioners.engine.job import Encoding, Finished, Job
from captioners.engine.plan import Plan
from captioners.engine.step_model import StepModel
from captioners.images.preprocess import Preprocess
from captioners.kinds import loading
from captioners.kinds._device import OnDevice, device_named, dtype_of, free_memory
from captioners.kinds._encode import CPU_BATCH, GPU_BATCH, encoder, encoding_digest
from captioners.kinds._memory import CocaMemory
from captioners.kinds._selftest import self_test
from captioners.kinds._step import step_model
from captioners.kinds.captioner import CaptionerInfo, Grade, Needs, Request, Result
from captioners.kinds.catalogue import KnownCaptioner, find
from captioners.models import coca
from captioners.models.arithmetic import MAX_THREADS
from captioners.models.weights import cached_digest, weights_digest
from captioners.text import rules
from captioners.text.sentences import first_sentence

_GPU_LOOK_EVERY = 8


@dataclass
class _Flying:
    """What a request's results need to know of it while it is in the engine."""

    decoding: Sample | Beam
    first_draw: int
    left: int
    """Draws still to come."""


class CocaCaptioner(OnDevice):
    """A CoCa, loaded and ready to be opened.

    Args:
        captioner: what `kinds.catalogue.find` understands, or gave.
        precision: fp32, bf16, or auto (bf16 on CUDA of capability 8.0 and newer, else fp32).
        exact: captions do not depend on their company, bit for bit; None: on for fp32 on a CPU.
        device: auto, cpu, cuda or cuda:N.
        context_length: token slots to resize the context to; None keeps the captioner's.
        loaded: its parts, where they are in memory already, such as a model in training.
    """

    def __init__(
        self,
        captioner: str | KnownCaptioner,
        *,
        precision: str = "auto",
        exact: bool | None = None,
        device: str = "auto",
        context_length: int | None = None,
        loaded: loading.Loaded | None = None,
    ) -> None:
        self.known = find(captioner) if isinstance(captioner, str) else captioner
        self.device = device_named(device)
        self.dtype = dtype_of(precision, self.device)
        self.exact = self._exactness(exact)
        loaded = loaded or loading.load(self.known)
        self.loaded = loaded.coca
        if context_length is not None:
            self.loaded = coca.resize_context(self.loaded, coca.context_rows(context_length))
        self.tokenizer, self._licences, self._knows_only = loaded.tokenizer, loaded.licences, loaded.knows_only
        self.recommended_decoding = loaded.recommended
        self._rules = rules.rules_for(self.tokenizer.keeps_spaces)
        self.preprocess: Preprocess = Preprocess({"size": self._image_size, **self.loaded.preprocess_cfg})
        self._memory = CocaMemory(self.loaded, self.device, self.dtype, self.exact)
        self._own_tower = True
        self.plan: Plan | None = None
        self._engine: Engine | None = None
        self._grade: Grade = "best-effort"
        self._pixels: tuple[Image.Image, Tensor] | None = None
        self._preprocess_seconds = 0.0

    def _exactness(self, wanted: bool | None) -> bool:
        fp32_on_cpu = self.device.type == "cpu" and self.dtype is torch.float32
        if wanted and self.device.type == "cpu" and not fp32_on_cpu:
            raise UserError("exact mode on a CPU is fp32; take precision fp32, or exact: false")
        return fp32_on_cpu if wanted is None else wanted

    @property
    def _image_size(self) -> Any:
        return self.loaded.model_cfg["vision_cfg"].get("image_size", 224)

    @property
    def max_tokens(self) -> int:
        """Content tokens of the longest caption: context length less start and end."""
        return self.loaded.context_length - 2

    @cached_property
    def info(self) -> CaptionerInfo:
        """Name, digests (hashed once per file), licences, limits, grade as proven by `open`."""
        state = self.loaded.model.state_dict()
        file = self.loaded.weights_file
        weights = cached_digest(file, state) if file else weights_digest(state)
        tower = cached_digest(file, state, "visual.") if file else weights_digest(state, "visual.")
        return CaptionerInfo(
            name=self.known.name,
            kind="coca",
            weights_digest=weights,
            tower_digest=tower,
            licences=self._licences,
            context_length=self.loaded.context_length,
            max_tokens=self.max_tokens,
            num_parameters=sum(p.numel() for p in self.loaded.model.parameters()),
            grade=self._grade,
            recommended_decoding=self.recommended_decoding,
            meaning={
                "weights": weights,
                "tokenizer": self.tokenizer.digest,
                "preprocess": self.preprocess.digest,
                "context_length": self.loaded.context_length,
                "dtype": str(self.dtype).removeprefix("torch."),
                "exact": self.exact,
                "text_rules": {"version": rules.VERSION, "names": rules.names_of(self._rules)},
                "engine_semantics": ENGINE_SEMANTICS,
            },
            knows_only=self._knows_only,
        )

    @cached_property
    def needs(self) -> Needs:
        """What it takes to be loaded beside others, and what it can share with them."""
        return Needs(
            fit=self.preprocess.fit,
            encoding=encoding_digest(
                self.loaded, self.info.tower_digest, self.preprocess.digest, self.device, self.dtype, self.exact
            ),
            tower=self._memory.tower,
            weights=self._memory.weights,
            caches=self._memory.busy,
            mapped=self.device.type == "cpu",
        )

    def share_tower(self, other: "CocaCaptioner") -> None:
        """Use another's image tower instead of the equal one of its own, before `open`.

        Raises:
            CaptionersError: the towers are not the same.
        """
        if other.needs.encoding != self.needs.encoding:
            raise CaptionersError(f"{self.known.name} and {other.known.name} do not have the same image tower")
        self.loaded.model.visual = other.loaded.model.visual
        self._own_tower = False

    @property
    def encode_seconds(self) -> float:
        """Seconds spent on preprocessing and encoding images since `open`."""
        return self._preprocess_seconds + (self._engine.encode_seconds if self._engine else 0.0)

    def accepts(self, decoding: Sample | Beam, draws: int = 1, prompt: str = "") -> str | None:
        """Say why this captioner cannot decode so, or None if it can."""
        prefix = self.tokenizer.encode(prompt) if prompt else []
        if self.tokenizer.pad_id in prefix:
            return f"the prompt {prompt!r} holds the token that {self.known.name} pads with; write its '!' apart"
        room = self.max_tokens - len(prefix)
        for field, wanted in (("max_tokens", decoding.max_tokens), ("min_tokens", decoding.min_tokens)):
            if wanted is not None and wanted > room:
                after = " after this prompt" if prompt else ""
                return f"{field} {wanted} is more than {self.known.name} can write{after}: {room} tokens"
        if room < 1:
            return f"the prompt leaves no room in {self.known.name}'s context of {self.loaded.context_length} tokens"
        rows = decoding.width if isinstance(decoding, Beam) else 1
        if self.plan is not None and rows > self.plan.slots:
            return (
                f"a beam of width {rows} is more than the {self.plan.slots} rows planned; narrow it or raise memory_gb"
            )
        return draws_problem(decoding, draws)

    def open(self, budget: int | None = None) -> None:
        """Plan memory within `budget` bytes, reserve it, and prove by a self-test what grade captions have."""
        model: Any = self.loaded.model.to(self.device)
        self.plan = self._memory.plan(budget if budget is not None else free_memory(self.device), self._own_tower)
        step = step_model(self.loaded, self.plan, self.dtype, self.exact)
        with self._threads():
            self._grade = self_test(model, step, self.tokenizer.start_id, self.exact, self.dtype)
        if self.exact and self._grade == "best-effort":
            raise CaptionersError(
                "exact mode did not hold on this machine: the same row gave other bits in other company. "
                "Please report it with the output of `captioners doctor`; `exact: false` captions without the promise"
            )
        self.__dict__.pop("info", None)
        on_gpu = self.device.type == "cuda"
        driven: StepModel = GraphedStep(step) if on_gpu else step
        self._engine = Engine(
            driven,
            encoder(model, self.device, self.dtype, self.exact),
            start_id=self.tokenizer.start_id,
            end_id=self.tokenizer.end_id,
            length=self.max_tokens,
            encode_batch=GPU_BATCH if on_gpu else max(CPU_BATCH, torch.get_num_threads()),
            look_every=_GPU_LOOK_EVERY if on_gpu else 1,
        )

    def caption(self, requests: Iterable[Request]) -> Iterator[Result]:
        """Pull requests as room allows and yield results as captions end, in any order.

        Raises:
            CaptionersError: not open. UserError: a request that `accepts` refuses.
        """
        if self._engine is None:
            raise CaptionersError("the captioner is not open; call open() first")
        flying: dict[int, _Flying] = {}
        captions = self._engine.run(self._job(request, flying) for request in requests)
        while True:
            with self._threads():  # not across a yield: other captioners run in between
                finished = next(captions, None)
            if finished is None:
                return
            of = flying[finished.key]
            of.left -= 1
            if not of.left:  # a run may be of millions of requests
                del flying[finished.key]
            yield self._result(finished, of)

    @contextmanager
    def _threads(self) -> Iterator[None]:
        """Keep to the threads that exact arithmetic can use."""
        before = torch.get_num_threads()
        fewer = self.exact and self.device.type == "cpu" and before > MAX_THREADS
        if fewer:
            torch.set_num_threads(MAX_THREADS)
        try:
            yield
        finally:
            if fewer:
                torch.set_num_threads(before)

    def _job(self, request: Request, flying: dict[int, _Flying]) -> Job:
        decoding, first = request.decoding, request.first_draw
        problem = self.accepts(decoding, request.draws, request.prompt)
        if first and isinstance(decoding, Beam):
            problem = f"draw {first} of a beam search cannot be asked for by itself; its captions come together"
        if problem:
            raise UserError(problem)
        flying[request.index] = _Flying(decoding, first, request.draws)
        prompt = tuple(self.tokenizer.encode(request.prompt)) if request.prompt else ()
        limit = min(decoding.max_tokens or self.max_tokens, self.max_tokens - len(prompt))
        uniforms = None
        if isinstance(decoding, Sample):
            draws = range(first, first + request.draws)
            streams = [request.stream.uniforms(draw, request.attempt, limit) for draw in draws]
            uniforms = torch.stack([torch.from_numpy(numbers) for numbers in streams])
        encoding: Encoding | None = None
        if request.encodings is not None:
            encoding = request.encodings.setdefault(self.needs.encoding, Encoding())
        return Job(
            key=request.index,
            image=None if encoding and encoding.tokens is not None else self._tensor(request.image),
            encoding=encoding,
            draws=request.draws,
            decoding=decoding,
            limit=limit,
            prompt=prompt,
            uniforms=uniforms,
        )

    def _tensor(self, image: Image.Image) -> Tensor:
        """Preprocess an image, once where requests for it follow each other: the engine then encodes it once, too."""
        if self._pixels is None or self._pixels[0] is not image:
            start = time.perf_counter()
            self._pixels = image, self.preprocess(image)
            self._preprocess_seconds += time.perf_counter() - start
        return self._pixels[1]

    def _result(self, finished: Finished, of: _Flying) -> Result:
        raw = self.tokenizer.decode(list(finished.tokens))
        text = rules.clean(raw, self._rules)
        if of.decoding.cut == "first_sentence":
            text = first_sentence(text)
        return Result(
            index=finished.key,
            draw=of.first_draw + finished.draw,
            text=text,
            raw_text=raw if raw != text else None,
            num_tokens=len(finished.tokens),
            logprob=finished.logprob,
            finish="eos" if finished.ended else "length",
        )

    def close(self) -> None:
        """Free the caches."""
        self._engine = self.plan = self._pixels = None
