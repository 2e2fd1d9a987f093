"""What a recipe says of the data it trains on: any source, told apart by its kind, and which captions of an image."""

from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Field

from captioners.data.source import SourceOptions, sources

Captions = Literal["random_per_image", "per_caption", "first"]
"""Several captions of one image: one drawn anew each epoch, each a sample of its own, or the first alone."""

if TYPE_CHECKING:
    AnySource = SourceOptions
else:
    # A union of the registered models, so that mistakes and overrides below `source:` are told by their own fields.
    _models = tuple(sources.get(name) for name in sources.names())
    AnySource = Annotated[Union[_models], Field(discriminator="kind")]  # noqa: UP007
