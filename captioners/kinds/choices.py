"""Which captioner a recipe means: a CoCa by its name, or a mapping with a kind and its options; and how to load it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Discriminator, Tag

from captioners.core.errors import NotFoundError
from captioners.kinds.catalogue import find
from captioners.kinds.kind import KindOptions, kinds

if TYPE_CHECKING:
    from captioners.kinds.captioner import Captioner

_NAME = "name"


def _choice(value: Any) -> str | None:
    """Return which alternative a value is meant for; a wrong kind is none, and pydantic says so."""
    if isinstance(value, KindOptions):
        return value.kind
    if isinstance(value, dict):
        kind = value.get("kind")
        return kind if isinstance(kind, str) and kind in kinds.names() else None
    return _NAME


if TYPE_CHECKING:
    AnyCaptioner = str | KindOptions
else:
    # A union of the registered models, so that mistakes and overrides below `captioner:` are told by their own fields.
    _models = (Annotated[kinds.get(name), Tag(name)] for name in kinds.names())
    AnyCaptioner = Annotated[
        Union[(Annotated[str, Tag(_NAME)], *_models)],
        Discriminator(
            _choice,
            custom_error_type="captioner",
            custom_error_message=f"a captioner's name, or a mapping whose `kind` is {', '.join(kinds.names())}",
        ),
    ]


def name_of(captioner: str | KindOptions) -> str:
    """Return what a captioner is called in messages and in the names of layers."""
    if isinstance(captioner, KindOptions):
        return captioner.called
    try:
        return find(captioner).name
    except NotFoundError:  # told where it is looked for in earnest
        return Path(captioner).name


def written(captioner: str | KindOptions) -> str:
    """Return a captioner as a recipe names it, in one line.

    >>> written("random-tiny")
    'random-tiny'
    """
    return captioner if isinstance(captioner, str) else f"{captioner.kind}:{captioner.called}"


def refusal(captioner: str | KindOptions, allow_noncommercial: bool) -> str | None:
    """Say why a captioner's licence forbids the use, or None; raise NotFoundError for an unknown name."""
    known = captioner if isinstance(captioner, KindOptions) else find(captioner)
    return known.refusal(allow_noncommercial)


def load_captioner(
    captioner: str | KindOptions,
    *,
    device: str = "auto",
    precision: str = "auto",
    exact: bool | None = None,
    context_length: int | None = None,
) -> "Captioner":
    """Return a captioner of any kind, to be opened before use; `exact` and `context_length` are for a CoCa.

    Raises:
        UserError, NotFoundError: it is not there, or cannot be had so.
    """
    if isinstance(captioner, KindOptions):
        return captioner.load(device, precision)
    from captioners.kinds.coca import CocaCaptioner

    return CocaCaptioner(captioner, precision=precision, exact=exact, device=device, context_length=context_length)
