"""What a recipe may say of a captioner that is no CoCa: the base of every kind's options, and the kinds by name.

Torch-free, so that `check` can ask what a kind accepts before anything loads. `coca` needs no options: its captioners
have names.
"""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from captioners.core.options import Options, operation
from captioners.core.registry import Registry
from captioners.decoding.values import Beam, Sample

if TYPE_CHECKING:
    from captioners.kinds.captioner import Captioner


class KindOptions(Options):
    """What a recipe says under `captioner:` in place of a name; each kind has its own, told apart by `kind`."""

    USES: ClassVar[frozenset[str]] = frozenset()
    """Keys of a member, of those that only some kinds have, that this one heeds: `precision`."""
    DRAWS: ClassVar[bool] = True
    """Whether captions are drawn, so that one asked for again may come out otherwise."""

    kind: str
    licence: str = operation("unknown", min_length=1)
    """The licence of the captions, or of the weights that write them; it goes onto the caption set's card."""
    commercial_use: Literal["yes", "no", "unknown"] = operation("unknown")
    """Whether the captions may be used commercially; `no` needs `allow_noncommercial: true`."""

    @property
    def called(self) -> str:
        """A short name of the captioner, for its layer and for messages."""
        raise NotImplementedError

    def accepts(self, decoding: Sample | Beam, draws: int = 1, prompt: str = "") -> str | None:
        """Say why this kind cannot decode so, or None if it can, as far as that is known before anything loads."""
        raise NotImplementedError

    def missing(self) -> str | None:
        """Say what this captioner needs and does not find on this machine, or None."""
        return None

    def load(self, device: str, precision: str) -> "Captioner":
        """Return the captioner, to be opened before use; `device` and `precision` are a recipe's words."""
        raise NotImplementedError

    def refusal(self, allow_noncommercial: bool) -> str | None:
        """Say why its licence forbids the use, or None (design promise 7)."""
        if self.commercial_use != "no" or allow_noncommercial:
            return None
        return (
            f"captioner {self.called} may not be used commercially ({self.licence}); "
            "say `allow_noncommercial=true` if your use allows that"
        )


class ModelOptions(KindOptions):
    """A kind that loads weights by itself."""

    model: str = Field(min_length=1)
    """A directory, or a name on the Hugging Face Hub (ORG/NAME); its weights have to be safetensors."""
    revision: str | None = None
    """Branch, tag or commit on the hub; a commit always means the same weights."""

    @property
    def called(self) -> str:
        """The last part of the model's name."""
        return Path(self.model).name or self.model

    def missing(self) -> str | None:
        """Say whether the model is meant as a directory that is not there."""
        given = Path(self.model).expanduser()
        looks_local = self.model.startswith((".", "/", "~")) or self.model.count("/") != 1
        if given.is_dir() or not looks_local:
            return None
        return f"model: {self.model} is no directory here, and no name on the hub (ORG/NAME)"


kinds: Registry[type[KindOptions]] = Registry("kind", package="captioners.kinds", suffix="_options")
"""Options of each kind, filed by `@kinds.register(kind)` in `kinds/<kind>_options.py`, which is torch-free."""


def unsupported(kind: str, decoding: Sample | Beam, has: frozenset[str]) -> str | None:
    """Say which setting of a decoding a kind cannot honour: one that departs from the default and is not in `has`.

    `strategy` and `cut` are no question; a setting at its neutral value asks for nothing.
    """
    for name, value in decoding.model_dump().items():
        if name in has or name in ("strategy", "cut") or value == _NEUTRAL.get(name):
            continue
        return f"kind {kind} has no {name} ({value} was asked for); {_WAYS.get(name, 'leave it out')}"
    return None


_NEUTRAL = {
    "min_tokens": 0,
    "max_tokens": None,
    "repetition_penalty": 1.0,
    "no_repeat_ngram": 0,
    "temperature": 1.0,
    "top_k": None,
    "top_p": None,
    "min_p": None,
    "groups": 1,
    "diversity_penalty": 0.0,
    "length_penalty": 1.0,
    "early_stopping": False,
}
_WAYS = {
    "min_tokens": "say min_tokens: 0",
    "width": "greedy (width 1) or sampling is what it has",
    "groups": "the kind coca has diverse beams",
}
