"""What the engine is asked for and what it answers: one image and the rows wanted of it, one caption as tokens."""

from dataclasses import dataclass

from torch import Tensor

from captioners.decoding.values import Beam, Sample


@dataclass
class Encoding:
    """Where engines of one image tower leave an image's tokens and find them."""

    tokens: Tensor | None = None
    """[N, D]; None until one of them has encoded the image."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One image and the rows wanted of it."""

    key: int
    image: Tensor | None
    """Model input [3, H, W]; neighbours that hold the same tensor object share its encoding. None where `encoding` has
    tokens."""
    encoding: Encoding | None = None
    """Shared with other engines; None: nobody else asks for this image."""
    draws: int
    decoding: Sample | Beam
    limit: int
    """Content tokens at most."""
    prompt: tuple[int, ...] = ()
    uniforms: Tensor | None = None
    """float64 [draws, limit] for sampling; None for beams."""

    def problem(self, slots: int, length: int) -> str | None:
        """Say why it could not be decoded as asked in so many slots of so many tokens, or None if it could."""
        if isinstance(self.decoding, Beam) and self.decoding.width > slots:
            return f"{self.decoding.width} beams enter together and there are {slots} slots"
        if self.draws < 1 or self.limit < 1:
            return f"{self.draws} draws of at most {self.limit} tokens are nothing to write"
        if len(self.prompt) + self.limit > length:
            return f"prompt {len(self.prompt)} + limit {self.limit} is more than the {length} tokens a row holds"
        if isinstance(self.decoding, Sample) and (
            self.uniforms is None or self.uniforms.shape != (self.draws, self.limit)
        ):
            return f"sampling needs uniforms [{self.draws}, {self.limit}]"
        return None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One caption as tokens."""

    key: int
    draw: int
    tokens: tuple[int, ...]
    logprob: float
    ended: bool
