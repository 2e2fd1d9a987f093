"""What `captioners export` can be told of a run: which captions, in which form, with or without their pictures."""

from typing import Literal

from pydantic import Field, model_validator

from captioners.core.options import Options, operation
from captioners.core.recipe import job_recipes
from captioners.data.selection import Select


@job_recipes.register("export")
class ExportRecipe(Options):
    """Hand a run's captions to others; a killed export goes on with the same command."""

    job: Literal["export"] = "export"
    run: str = Field(min_length=1)
    """The run: its directory, its name under runs/, or 'latest'."""
    to: str = Field(min_length=1)
    """The form: jsonl, parquet, huggingface."""
    output: str = operation(min_length=1)
    """A new folder."""
    select: Select = Select()
    """Which captions: how many of each image, by which rule, under which condition."""
    scores: list[str] = Field([])
    """Scores that become columns, besides those that `select` asks about; `captioners measure` computes them."""
    rows: Literal["caption", "image"] = "caption"
    """A row for each caption, or for each image with lists of its captions."""
    images: bool = False
    """Put each picture's own bytes beside its captions; needs `rows: image`."""
    partial: bool = False
    """Export what is finished of a run that is not."""
    file_mb: int = Field(256, ge=1)
    """About how large a file becomes, in MB; there is one more when it is exceeded."""

    @model_validator(mode="after")
    def _fits_together(self) -> "ExportRecipe":
        if self.images and self.rows != "image":
            raise ValueError("images: true puts a picture into every row; say rows: image, so that it is there once")
        return self
