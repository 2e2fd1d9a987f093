"""How tokens are chosen, as values: `sample`, `beam`, their limits, and the short forms that expand to them.

Torch-free; the algorithms stand beside it (`sampling`, `beam`). Token counts include neither start nor end token.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from captioners.core.errors import UserError, near
from captioners.core.options import Options


class Limits(Options):
    """What both strategies obey: length bounds and the penalties on repetition."""

    min_tokens: int = Field(5, ge=0)
    """Content tokens before the end token is allowed."""
    max_tokens: int | None = Field(None, ge=1)
    """Content tokens at most; the captioner's longest caption when absent (context_length - 2)."""
    repetition_penalty: float = Field(1.0, gt=0)
    """Divides positive and multiplies negative logits of tokens already written; 1 is off (arXiv 1909.05858, 4.1)."""
    no_repeat_ngram: int = Field(0, ge=0)
    """No n-gram of this many tokens appears twice in a caption; 0 is off."""
    cut: Literal["first_sentence"] | None = None
    """Keep the first sentence, never cut at "Mr." or "3.5". Only for `raygen`: elsewhere no text is ever cut."""

    @model_validator(mode="after")
    def _bounds(self) -> "Limits":
        if self.max_tokens is not None and self.max_tokens < self.min_tokens:
            raise ValueError(f"max_tokens {self.max_tokens} is below min_tokens {self.min_tokens}")
        return self


class Sample(Limits):
    """Draw from the model's distribution, filtered in this order: temperature, top_k, top_p, min_p."""

    strategy: Literal["sample"] = "sample"
    temperature: float = Field(1.0, gt=0)
    """Divides the logits before any filter."""
    top_k: int | None = Field(None, ge=1)
    """Keep the k most likely tokens (and any tied with the k-th)."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Keep the smallest set of most likely tokens whose mass reaches p (nucleus sampling, arXiv 1904.09751, 3.1)."""
    min_p: float | None = Field(None, gt=0, le=1)
    """Keep tokens with at least this share of the likeliest token's probability (arXiv 2407.01082, section 3)."""


class Beam(Limits):
    """Beam search by sum of log-probabilities / length ** length_penalty, the end token counted in the length."""

    strategy: Literal["beam"] = "beam"
    width: int = Field(5, ge=1)
    """Beams per image, over all groups; 1 is greedy: it stops at its first end token."""
    groups: int = Field(1, ge=1)
    """Groups advance in turn and are penalised for tokens that earlier groups chose (arXiv 1610.02424)."""
    diversity_penalty: float = Field(0.0, ge=0)
    """Subtracted once for each earlier beam of this step that chose the token; needs groups > 1."""
    length_penalty: float = 1.0
    """Exponent of the length; 0 compares plain sums."""
    early_stopping: bool = False
    """Stop an image as soon as it has `width` finished captions, though an unfinished one could still score better."""

    @model_validator(mode="after")
    def _groups(self) -> "Beam":
        if self.width % self.groups:
            raise ValueError(f"width {self.width} cannot be split into {self.groups} equal groups")
        if self.groups > 1 and self.diversity_penalty == 0:
            raise ValueError(
                "groups without a diversity_penalty are copies of each other; set diversity_penalty above 0"
            )
        if self.groups == 1 and self.diversity_penalty > 0:
            raise ValueError("diversity_penalty needs groups > 1")
        return self


_SHORT = ("greedy", "top_p", "top_k", "min_p", "diverse_beam")
_PRESETS = {
    # Apple's gen.py: generate(seq_len=30, top_p=0.9, min_seq_len=5), first sentence kept. Its counts include the start
    # token, and seq_len the end token too: 28 and 4 content tokens.
    "raygen": {"strategy": "sample", "top_p": 0.9, "max_tokens": 28, "min_tokens": 4, "cut": "first_sentence"},
}


def expand(value: Any) -> Any:
    """Expand a short form or preset to the keys of `Sample` or `Beam`; leave everything else for pydantic to judge.

    >>> expand("greedy")
    {'strategy': 'beam', 'width': 1}
    >>> expand({"top_p": 0.9, "temperature": 0.7})
    {'strategy': 'sample', 'top_p': 0.9, 'temperature': 0.7}
    >>> expand({"beam": {"width": 4}})
    {'strategy': 'beam', 'width': 4}
    >>> expand({"diverse_beam": {"width": 6, "groups": 3, "diversity_penalty": 0.5}})["groups"]
    3
    """
    if isinstance(value, str):
        return _expand_name(value)
    if not isinstance(value, dict) or "strategy" in value:
        return value
    for strategy in ("sample", "beam"):
        if strategy in value and len(value) == 1:
            return {"strategy": strategy, **(value[strategy] or {})}
    if "diverse_beam" in value and len(value) == 1:
        return {"strategy": "beam", "width": 6, "groups": 3, "diversity_penalty": 0.5, **(value["diverse_beam"] or {})}
    if any(key in value for key in Beam.model_fields if key not in Sample.model_fields):
        return {"strategy": "beam", **value}
    return {"strategy": "sample", **value}


def _expand_name(name: str) -> dict[str, Any]:
    if name in _PRESETS:
        return dict(_PRESETS[name])
    if name == "greedy":
        return {"strategy": "beam", "width": 1}
    if name in ("sample", "beam"):
        return {"strategy": name}
    if name == "diverse_beam":
        return {"strategy": "beam", "width": 6, "groups": 3, "diversity_penalty": 0.5}
    if name in _SHORT:
        raise ValueError(
            f"'{name}' needs a value, such as {{{name}: {50 if name == 'top_k' else 0.9 if name == 'top_p' else 0.05}}}"
        )
    raise ValueError(
        f"no decoding is named '{name}'.{near(name, decoding_names())} Known: {', '.join(decoding_names())}"
    )


Decoding = Annotated[Sample | Beam, Field(discriminator="strategy"), BeforeValidator(expand)]
"""A recipe field of this type takes `sample`, `beam`, a short form or a preset."""


class _Holder(Options):
    decoding: Decoding


def parse_decoding(value: Any) -> Sample | Beam:
    """Return the decoding that a name, a short form or a mapping means.

    Raises:
        UserError: with every mistake in one line.
    """
    if isinstance(value, Sample | Beam):
        return value
    try:
        return _Holder.model_validate({"decoding": value}).decoding
    except ValidationError as error:
        parts = [
            f"{'.'.join(str(p) for p in e['loc'][2:]) or 'decoding'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise UserError(f"decoding {value!r} cannot be used: {'; '.join(parts)}") from None


def decoding_names() -> list[str]:
    """Return every name that `expand` knows: strategies, short forms, presets."""
    return ["sample", "beam", *_SHORT, *_PRESETS]


def draws_problem(decoding: Sample | Beam, draws: int) -> str | None:
    """Say why this decoding cannot give that many captions of one image, or None if it can."""
    if isinstance(decoding, Beam) and decoding.width < draws:
        return (
            f"a beam of width {decoding.width} cannot give {draws} captions; widen it to {draws} or sample (top_p: 0.9)"
        )
    return None
