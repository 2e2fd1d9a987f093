"""What a recipe says of the data it trains on: any source, told apart by its kind, which captions, held or streamed."""

from typing import TYPE_CHECKING, Annotated, Literal, Union

from pydantic import Field

from captioners.core.options import Options, operation
from captioners.data.source import SourceOptions, sources

Captions = Literal["random_per_image", "per_caption", "first"]
"""Several captions of one image: one drawn anew each epoch, each a sample of its own, or the first alone."""


class Streaming(Options):
    """Read shards while training goes on; a set that fits in memory needs none of this."""

    block_shards: int = Field(4, ge=1)
    """Shards that are read and permuted together; two such blocks are in memory at a time, as files."""
    workers: int = operation(4, ge=0)
    """Decode processes of each rank; 0 decodes in the training process. They change no sample's place."""
    most_skipped: float = operation(0.05, ge=0, le=1)
    """Share of samples that may be unreadable before the run stops."""


if TYPE_CHECKING:
    AnySource = SourceOptions
else:
    # A union of the registered models, so that mistakes and overrides below `source:` are told by their own fields.
    _models = tuple(sources.get(name) for name in sources.names())
    AnySource = Annotated[Union[_models], Field(discriminator="kind")]  # noqa: UP007
