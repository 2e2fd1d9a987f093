"""The text-level interface that every kind of captioner implements: pictures in, captions out, pulled lazily.

Torch-free, so that `check` can ask `accepts` before anything loads.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from PIL import Image

from captioners.core.seeds import Stream
from captioners.decoding.values import Beam, Sample
from captioners.images.fit import Fit

Finish = Literal["eos", "length", "repetition", "error"]
"""Why a caption ended: by itself, by its limit, stopped in a loop; or none was made of this very image."""
Grade = Literal["exact", "same-plan", "best-effort"]


@dataclass(frozen=True, kw_only=True)
class CaptionerInfo:
    """What a captioner is; the facts of its card that code acts on."""

    name: str
    kind: str
    weights_digest: str
    """sha256 over tensors (name, dtype, shape, bytes, sorted by name), hexadecimal."""
    tower_digest: str | None
    """The same over the image tower alone: members whose digests agree can share one image encode."""
    licences: dict[str, str]
    context_length: int
    max_tokens: int
    """Content tokens of the longest caption it can write: context_length - 2 for CoCa."""
    num_parameters: int
    grade: Grade
    recommended_decoding: Sample | Beam
    meaning: dict[str, Any]
    """What of it a caption depends on, JSON-able, for a layer's fingerprint: digests, dtype, arithmetic, text rules."""
    knows_only: str = ""
    """The only pictures that it learned to caption, such as "scenes of the drawn world"; empty: pictures at large."""

    @property
    def warning(self) -> str:
        """One line for whoever captions other pictures with it; empty where it knows pictures at large."""
        if not self.knows_only:
            return ""
        return f"{self.name} knows only {self.knows_only}: of other pictures its words mean nothing"


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a captioner takes to be loaded beside others, and what it can share with them.

    A kind says it by an attribute `needs`; captioners of a kind that has none are loaded alone.
    """

    fit: Fit | None
    """How pictures are brought to its size; captioners of one fit share a decode."""
    encoding: str = ""
    """Digest of all that an image encode depends on: one encode serves captioners of the same; empty: of none."""
    tower: int
    """Bytes of the image tower's weights, held once for captioners of one encoding."""
    weights: int
    """Bytes of all other weights."""
    caches: int
    """Bytes besides, with enough rows to be worth its place."""
    mapped: bool
    """Whether weights stay in their files, mapped, so that what `open` may use is for caches alone."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One image and what is wanted of it."""

    index: int
    """Returned with each result; unique among requests in flight."""
    image: Image.Image
    """RGB, any size; the kind does its own resize and normalisation."""
    stream: Stream
    """Whose random numbers its draws use: (run seed, image sha256, member)."""
    draws: int = 1
    first_draw: int = 0
    """Number of the first draw, so that one draw can be asked for again; 0 for beams, whose captions come together."""
    attempt: int = 0
    decoding: Sample | Beam = field(default_factory=Beam)
    prompt: str = ""
    """What a caption begins with; what a chat model is asked."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What came with the image: all of its `meta`, and over it `key` and `captions`."""
    encodings: dict[str, Any] | None = None
    """Where captioners loaded together leave and find this image's encoding, by `Needs.encoding`; None: not shared."""

    @property
    def seed(self) -> int:
        """The seed of its first draw, below 2 ** 31, for engines that take one; each further draw has the next."""
        return int(self.stream.uniforms(0, self.attempt, 1)[0] * 2**30) + self.first_draw


@dataclass(frozen=True, kw_only=True)
class Result:
    """One caption. Results of one request may arrive apart, in any order; (index, draw) says which it is."""

    index: int
    draw: int
    text: str
    raw_text: str | None
    """The text as decoded, when the clean text differs from it; of finish `error`, why there is none."""
    num_tokens: int
    """Content tokens written, without start, prompt and end; words, where nobody tells tokens."""
    logprob: float | None
    """Sum of the model's own log-probabilities (temperature 1, before any filter), end token included."""
    finish: Finish


class Captioner(Protocol):
    """One kind of captioner, closed until `open`."""

    @property
    def info(self) -> CaptionerInfo:
        """Name, digests, licences, limits, grade."""

    @property
    def encode_seconds(self) -> float:
        """Seconds spent on preprocessing and encoding images since `open`."""

    @property
    def fit(self) -> Fit | None:
        """How decode processes may bring pictures to its input size; None: it wants them as they are."""

    @property
    def device_type(self) -> str:
        """`cpu` or `cuda` where it runs in this process, else `elsewhere`."""

    @property
    def environment(self) -> dict[str, str]:
        """What a caption may depend on besides its layer's meaning; `device` and `dtype`, and versions of engines."""

    def accepts(self, decoding: Sample | Beam, draws: int = 1, prompt: str = "") -> str | None:
        """Say why this captioner cannot decode so, or None if it can; nothing is loaded."""

    def open(self, budget: int | None = None) -> None:
        """Load within `budget` bytes (None: what the machine has), plan memory, prove the grade by a self-test."""

    def caption(self, requests: Iterable[Request]) -> Iterator[Result]:
        """Pull requests as room allows (that is the back-pressure) and yield results as captions end."""

    def close(self) -> None:
        """Free what `open` took."""
