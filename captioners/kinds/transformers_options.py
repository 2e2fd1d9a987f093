"""What a recipe says of an image-to-text model of transformers."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from captioners.core.options import operation
from captioners.decoding.values import Beam, Sample, draws_problem
from captioners.kinds.kind import ModelOptions, kinds, unsupported

if TYPE_CHECKING:
    from captioners.kinds.transformers import TransformersCaptioner

_BEAM = {"width", "length_penalty", "early_stopping"}
_LIMITS = {"min_tokens", "max_tokens", "repetition_penalty", "no_repeat_ngram"}
_SAMPLE = {"temperature", "top_k", "top_p", "min_p"}


@kinds.register("transformers")
class TransformersOptions(ModelOptions):
    """Any image-to-text model of transformers: BLIP, BLIP-2, GIT, Florence-2, LLaVA and its like with a prompt."""

    USES: ClassVar[frozenset[str]] = frozenset({"precision"})

    kind: Literal["transformers"] = "transformers"
    max_tokens: int = Field(128, ge=1)
    """Content tokens of the longest caption, where the decoding names no max_tokens."""
    batch: int = operation(1, ge=1)
    """Images decoded together. With 1, a caption depends on its own image alone; with more, on a GPU's rounding also
    on the company, and the grade says so."""

    def accepts(self, decoding: Sample | Beam, draws: int = 1, prompt: str = "") -> str | None:  # noqa: ARG002
        """Say what transformers cannot do: groups of beams, which left it."""
        has = frozenset(_LIMITS | (_BEAM if isinstance(decoding, Beam) else _SAMPLE))
        return unsupported(self.kind, decoding, has) or draws_problem(decoding, draws)

    def load(self, device: str, precision: str) -> "TransformersCaptioner":
        """Return the captioner, its weights loaded."""
        from captioners.kinds.transformers import TransformersCaptioner

        return TransformersCaptioner(self, device=device, precision=precision)
