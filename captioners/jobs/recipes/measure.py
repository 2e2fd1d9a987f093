"""What `captioners measure` can be told of the caption sets that it lays side by side."""

from pydantic import Field

from captioners.core.options import Options, operation


class MeasureOptions(Options):
    """How caption sets are measured."""

    references: str | None = None
    """What people wrote: a path, a source as in a recipe (`{kind: coco, ...}`), or `own`, what came with the run's own
    images; absent: nothing is held against references."""
    clip: str | None = None
    """The frozen judge of pictures and captions: an open_clip MODEL/TAG, MODEL@FILE, `local-dir:DIR`,
    `hf-hub:ORG/REPO`, or a captioner's name; absent: no metric that needs one."""
    all_metrics: bool = False
    """Every metric, not the default bundle alone."""
    common: bool = False
    """Measure the images that all sets have, where they differ."""
    seed: int = Field(0, ge=0)
    """Of the resamples that intervals rest on, and of which m captions stand for an image that has more, where a number
    is of the whole set: vocabulary and the like, and self-retrieval. (Means over choices of m captions don't need it.)
    """
    workers: int = operation(2, ge=1)
    """Processes, for what needs no model."""
