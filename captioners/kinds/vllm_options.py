"""What a recipe says of a model that vLLM runs."""

import shutil
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from captioners.core.options import Options, operation
from captioners.decoding.values import Beam, Sample, draws_problem
from captioners.kinds.endpoint_options import FIRST_MIN_P
from captioners.kinds.kind import ModelOptions, kinds, unsupported

if TYPE_CHECKING:
    from captioners.kinds.vllm import VllmCaptioner

_LIMITS = {"max_tokens", "min_tokens", "repetition_penalty"}
_SAMPLE = {"temperature", "top_k", "top_p", "min_p"}
_GREEDY = {"width", "length_penalty", "early_stopping"}
_OURS = {
    *("model", "tokenizer", "revision", "tokenizer_revision", "code_revision", "hf_overrides", "hf_config_path"),
    *("dtype", "seed", "quantization", "mm_processor_kwargs", "trust_remote_code", "logits_processors"),
    *("logprobs_mode", "generation_config", "override_generation_config", "load_format", "model_impl"),
}
"""Arguments of vLLM's that change captions, or run code: not to be had by way of `engine`."""


class RepetitionDetection(Options):
    """When vLLM stops a caption that goes round in circles; its row then has finish `repetition`."""

    max_pattern_size: int = Field(20, ge=1)
    """Tokens of the longest pattern that is looked for."""
    min_pattern_size: int = Field(1, ge=1)
    """Tokens of the shortest."""
    min_count: int = Field(4, ge=2)
    """How often it has to stand back to back."""


@kinds.register("vllm")
class VllmOptions(ModelOptions):
    """Any image-to-text model that vLLM knows, in vLLM's own process and, if you like, environment."""

    USES: ClassVar[frozenset[str]] = frozenset({"precision"})

    kind: Literal["vllm"] = "vllm"
    python: str | None = operation(None)
    """The Python of the environment that has vLLM (`make vllm`: .vllm-venv/bin/python); absent: this one's."""
    max_tokens: int = Field(128, ge=1)
    """Tokens of the longest caption, where the decoding names no max_tokens."""
    quantization: str | None = None
    """How vLLM quantizes the weights; what the model says when absent."""
    processor: dict[str, Any] = Field({})
    """What the model's picture processor is told (vLLM's mm_processor_kwargs), such as {max_pixels: 1003520}."""
    repetition_detection: RepetitionDetection | None = None
    """Stop captions that go round in circles; `{}` for the defaults. Needs a vLLM that has it."""
    engine: dict[str, Any] = operation({})
    """Further arguments of vLLM's `LLM`: max_model_len, gpu_memory_utilization, tensor_parallel_size ..."""
    batch: int = operation(64, ge=1)
    """Images that are handed over together."""
    timeout_s: float = operation(1800.0, gt=0)
    """How long it may take to start, or to caption what was handed over, before it counts as dead."""
    restarts: int = operation(3, ge=0)
    """How often in a row it is started anew, and asked the same again, before the unit is left open."""

    @field_validator("engine")
    @classmethod
    def _leaves_captions_alone(cls, value: dict[str, Any]) -> dict[str, Any]:
        if wrong := sorted(_OURS & set(value)):
            raise ValueError(f"{wrong[0]} is not for `engine`: it changes captions, or has a key of its own")
        return value

    def accepts(self, decoding: Sample | Beam, draws: int = 1, prompt: str = "") -> str | None:  # noqa: ARG002
        """Say what vLLM cannot do: beams that are wider than greedy, n-grams that may not come twice."""
        own = _SAMPLE if isinstance(decoding, Sample) else _GREEDY if decoding.width == 1 else _GREEDY - {"width"}
        problem = unsupported(self.kind, decoding, frozenset(_LIMITS | own)) or draws_problem(decoding, draws)
        if problem:
            return problem
        if isinstance(decoding, Sample) and decoding.min_p and (decoding.top_k or decoding.top_p):
            return f"kind vllm {FIRST_MIN_P}"
        return None

    def missing(self) -> str | None:
        """Say whether the model or the Python is not there."""
        if problem := super().missing():
            return problem
        if shutil.which(self.interpreter) is None:
            return f"python: {self.python} is no program here; `make vllm` builds an environment in .vllm-venv"
        return None

    @property
    def interpreter(self) -> str:
        """The Python that vLLM is started with."""
        return self.python or sys.executable

    def load(self, device: str, precision: str) -> "VllmCaptioner":
        """Return the captioner; vLLM is started when it is opened."""
        from captioners.kinds.vllm import VllmCaptioner

        return VllmCaptioner(self, device=device, precision=precision)
