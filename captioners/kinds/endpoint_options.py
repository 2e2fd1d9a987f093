"""What a recipe says of a server that speaks OpenAI's chat completions."""

import os
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from captioners.core.options import operation
from captioners.decoding.values import Beam, Sample, draws_problem
from captioners.kinds.kind import KindOptions, kinds, unsupported

if TYPE_CHECKING:
    from captioners.kinds.endpoint import EndpointCaptioner

_OPENAI = {"max_tokens", "temperature", "top_p"}
_VLLM = {*_OPENAI, "min_tokens", "top_k", "min_p", "repetition_penalty"}
FIRST_MIN_P = "applies min_p before top_k and top_p, not after them; use one or the other"


@kinds.register("endpoint")
class EndpointOptions(KindOptions):
    """Any server of OpenAI's chat completions: `vllm serve`, another one on your machines, or a paid one."""

    kind: Literal["endpoint"] = "endpoint"
    base_url: str = operation(min_length=1)
    """Where its API begins: `http://127.0.0.1:8000/v1`."""
    model: str = Field(min_length=1)
    """The model's name there."""
    server: Literal["openai", "vllm"] = "openai"
    """Which settings it knows: vllm has top_k, min_p, min_tokens and repetition_penalty besides."""
    max_tokens: int = Field(128, ge=1)
    """Tokens of the longest caption, where the decoding names no max_tokens."""
    system: str = ""
    """What the model is told before it is asked; none when absent."""
    image_format: Literal["jpeg", "png"] = "png"
    """How a picture is sent, decoded as the recipe says: png loses nothing, jpeg (quality 95) is smaller."""
    max_side: int | None = Field(None, ge=1)
    """Longest side of a picture in pixels; larger ones are made smaller before they are sent."""
    api_key_env: str | None = operation(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable that holds the key; read for each request, so a new key counts at once."""
    concurrency: int = operation(16, ge=1)
    """Requests under way at a time."""
    timeout_s: float = operation(120.0, gt=0)
    """How long one request may take."""
    retries: int = operation(6, ge=0)
    """How often a request that the server was too busy for, or that failed on the way, is sent again."""
    backoff_s: float = operation(1.0, gt=0)
    """Pause before the first of them; each further one waits twice as long, a minute at most, or as the server says."""

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{value} is no address; write http://HOST:PORT/v1")
        return value.rstrip("/")

    @property
    def called(self) -> str:
        """The last part of the model's name."""
        return self.model.rstrip("/").rpartition("/")[2] or self.model

    def accepts(self, decoding: Sample | Beam, draws: int = 1, prompt: str = "") -> str | None:
        """Say what such a server cannot do: beams, and without vllm most filters."""
        has = frozenset(_VLLM if self.server == "vllm" else _OPENAI)
        if isinstance(decoding, Beam):
            has |= {"length_penalty", "early_stopping"} | ({"width"} if decoding.width == 1 else set())
        problem = unsupported(f"endpoint (server: {self.server})", decoding, has) or draws_problem(decoding, draws)
        if problem:
            return problem
        if isinstance(decoding, Sample) and decoding.min_p and (decoding.top_k or decoding.top_p):
            return f"server: vllm {FIRST_MIN_P}"
        return None if prompt else "kind endpoint has to be asked something; write a prompt: Describe this picture."

    def missing(self) -> str | None:
        """Say whether the key is not in the environment."""
        if self.api_key_env is None or os.environ.get(self.api_key_env):
            return None
        return f"api_key_env: the environment variable {self.api_key_env} is not set"

    def load(self, device: str, precision: str) -> "EndpointCaptioner":  # noqa: ARG002  # it runs elsewhere
        """Return the captioner; the server is asked when it is opened."""
        from captioners.kinds.endpoint import EndpointCaptioner

        return EndpointCaptioner(self)
