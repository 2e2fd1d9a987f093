"""The kind `vllm`: vLLM's offline engine in a process of its own, and in an environment of its own, if you like.

Grade: best-effort. Every draw has its own seed, whatever it is made together with, but vLLM's arithmetic depends on the
company. A model with a chat template is asked; any other goes on from the prompt. Models get no code of their own to
run, and weights are read from safetensors alone. A process that dies is started anew and asked the same again.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from captioners.core.errors import CaptionersError, EngineLostError, UserError
from captioners.decoding.values import Beam, Sample
from captioners.images.fit import Fit
from captioners.kinds import _hub
from captioners.kinds._plain_text import TEXT_RULES, plain
from captioners.kinds._vllm_process import VllmProcess
from captioners.kinds.captioner import CaptionerInfo, Finish, Request, Result
from captioners.kinds.vllm_options import VllmOptions

SEMANTICS = 1
"""Raised whenever the same recipe asks vLLM otherwise; part of a layer's fingerprint."""

_DTYPES = {"auto": "auto", "fp32": "float32", "bf16": "bfloat16"}
_FINISHES: dict[Any, Finish] = {"stop": "eos", "length": "length", "repetition": "repetition"}


class VllmCaptioner:
    """See `captioners.kinds.captioner.Captioner`."""

    fit: Fit | None = None
    device_type = "elsewhere"
    encode_seconds = 0.0

    def __init__(self, options: VllmOptions, *, device: str = "auto", precision: str = "auto") -> None:
        self._options, self._device, self._precision = options, device, precision
        self.folder = _hub.folder_of(options)
        self._process: VllmProcess | None = None

    @cached_property
    def info(self) -> CaptionerInfo:
        """Name, digests (hashed once per file), licences, limits, grade."""
        options, weights = self._options, _hub.weights_of(self.folder)
        return CaptionerInfo(
            name=options.called,
            kind="vllm",
            weights_digest=weights,
            tower_digest=None,
            licences={"weights": options.licence},
            context_length=_hub.context_of(self.folder),
            max_tokens=options.max_tokens,
            num_parameters=_hub.num_parameters(self.folder),
            grade="best-effort",
            recommended_decoding=Sample(),
            meaning={
                "kind": "vllm",
                "weights": weights,
                "files": _hub.files_digest(self.folder),
                "max_tokens": options.max_tokens,
                "dtype": _DTYPES[self._precision],
                "quantization": options.quantization,
                "processor": options.processor,
                "repetition_detection": options.repetition_detection and options.repetition_detection.model_dump(),
                "text_rules": TEXT_RULES,
                "engine_semantics": SEMANTICS,
            },
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a caption may depend on besides its layer's meaning, as vLLM's process says once it runs."""
        about = self._process.about if self._process else {}
        return {name: str(about.get(name, "")) for name in ("vllm", "torch", "device", "dtype")}

    def accepts(self, decoding: Sample | Beam, draws: int = 1, prompt: str = "") -> str | None:
        """Say why this captioner cannot decode so, or None if it can."""
        if decoding.max_tokens is not None and decoding.max_tokens > self._options.max_tokens:
            return f"max_tokens {decoding.max_tokens} is more than this captioner may write: {self._options.max_tokens}"
        if self._process and self._process.about["chat"] and not prompt:
            return f"{self._options.called} is a chat model and has to be asked; write a prompt: Describe this picture."
        return self._options.accepts(decoding, draws, prompt)

    def open(self, budget: int | None = None) -> None:  # noqa: ARG002  # vLLM plans its own (gpu_memory_utilization)
        """Start vLLM and load the model.

        Raises:
            EngineLostError: it did not start. UserError: it lacks what the recipe asks for.
        """
        self._process = self._started()
        if self._options.repetition_detection and not self._process.about["repetition_detection"]:
            version = self._process.about["vllm"]
            self.close()
            raise UserError(f"vLLM {version} has no repetition_detection; leave it out, or take a newer vLLM")

    def _started(self) -> VllmProcess:
        options = self._options
        settings = {
            "disable_log_stats": True,
            "limit_mm_per_prompt": {"image": 1},
            **options.engine,
            "model": str(self.folder),
            "dtype": _DTYPES[self._precision],
            "quantization": options.quantization,
            "mm_processor_kwargs": options.processor or None,
            "load_format": "safetensors",
            "generation_config": "vllm",  # else the model's own filters would come on top
            "trust_remote_code": False,
            "seed": 0,
        }
        return VllmProcess(options.interpreter, settings, self._device, options.timeout_s)

    def caption(self, requests: Iterable[Request]) -> Iterator[Result]:
        """Pull as many requests as are handed over together, and yield their results.

        Raises:
            CaptionersError: not open. UserError: a request that `accepts` refuses. EngineLostError: vLLM is lost.
        """
        if self._process is None:
            raise CaptionersError("the captioner is not open; call open() first")
        source = iter(requests)
        while together := list(islice(source, self._options.batch)):
            for request in together:
                if problem := self.accepts(request.decoding, request.draws, request.prompt):
                    raise UserError(problem)
            for request, answer in zip(together, self._asked(together), strict=True):
                yield from _results(request, answer)

    def _asked(self, requests: Sequence[Request]) -> list[dict[str, Any]]:
        asked = [({"prompt": r.prompt, "params": self._params(r)}, r.image) for r in requests]
        for restart in range(self._options.restarts + 1):
            try:
                if self._process is None:
                    self._process = self._started()
                return self._process.ask(asked)
            except EngineLostError as error:
                self.close()
                if restart == self._options.restarts:
                    times = f"{restart + 1} times in a row, at last: " if restart else ""
                    raise EngineLostError(f"{times}{error}. What is stored stays: run the same command again") from None
        raise AssertionError("unreachable")

    def _params(self, request: Request) -> dict[str, Any]:
        """Return what `SamplingParams` is given; vLLM seeds the draws of one request with its seed, seed + 1 ..."""
        decoding, options = request.decoding, self._options
        found: dict[str, Any] = {
            "n": request.draws,
            "seed": request.seed,
            "temperature": 0.0,
            "min_tokens": decoding.min_tokens,
            "max_tokens": min(decoding.max_tokens or options.max_tokens, options.max_tokens),
            "repetition_penalty": decoding.repetition_penalty,
            "logprobs": 0,  # of the tokens drawn alone; the model's own, before any filter
        }
        if isinstance(decoding, Sample):
            found |= {"temperature": decoding.temperature, "top_p": decoding.top_p or 1.0}
            found |= {"top_k": decoding.top_k or 0, "min_p": decoding.min_p or 0.0}
        if options.repetition_detection:
            found["repetition_detection"] = options.repetition_detection.model_dump()
        return found

    def close(self) -> None:
        """End vLLM."""
        if self._process is not None:
            self._process.end()
        self._process = None


def _results(request: Request, answer: dict[str, Any]) -> Iterator[Result]:
    """Yield a request's results; where vLLM refused it for itself, each says why."""
    if "error" in answer:
        why = " ".join(str(answer["error"]).split())[:300]
        for draw in range(request.first_draw, request.first_draw + request.draws):
            yield Result(
                index=request.index, draw=draw, text="", raw_text=why, num_tokens=0, logprob=None, finish="error"
            )
        return
    for caption in answer["captions"]:
        text, raw_text = plain(caption["text"], request.decoding)
        finish = _FINISHES.get(caption["finish"], "length")
        yield Result(
            index=request.index,
            draw=request.first_draw + caption["draw"],
            text=text,
            raw_text=raw_text,
            num_tokens=caption["tokens"] - (finish == "eos"),
            logprob=caption["logprob"],
            finish=finish,
        )
