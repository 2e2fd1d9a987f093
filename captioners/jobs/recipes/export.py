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
    """The form: webdataset, sidecar, jsonl, parquet, huggingface."""
    output: str = operation(min_length=1)
    """A new folder, here or in a store (`s3://bucket/captioned`), where each file is sent when it is finished."""
    select: Select = Select()
    """Which captions: how many of each image, by which rule, under which condition."""
    scores: list[str] = Field([])
    """Scores that become columns of tables, besides those that `select` asks about; `captioners measure` makes them."""
    rows: Literal["caption", "image", "sample"] = "caption"
    """A row for each caption, or for each image with lists of its captions; of jsonl also `sample`: a line with all
    that a sample had, as MobileCLIP's generator writes it."""
    images: bool = False
    """Put each picture's own bytes beside its captions; needs `rows: image`."""
    partial: bool = False
    """Export what is finished of a run that is not."""
    file_mb: int = Field(256, ge=1)
    """About how large a file becomes, in MB; there is one more when it is exceeded."""

    input: str | None = operation(None)
    """Of captioned shards: the folder that the run's shards lie in now; default: where the run read them."""
    tags: dict[str, str | None] = Field({})
    """Of captioned shards: member -> tag, whose captions then stand under `syn_text_TAG`, and under `syn_text` for an
    empty one; `null` leaves the member out. Default: no tag for one member, their names for several. Members of one tag
    share its list."""
    members: Literal["contract", "all"] = "contract"
    """Of captioned shards: keep of each sample what MobileCLIP's reader knows (jpg, txt, url.txt, json, ...) and the
    picture, or all; that reader gives up a shard with any other member."""
    image_names: Literal["keep", "jpg"] = "keep"
    """Of captioned shards: pictures keep their names, or are all named .jpg, which alone MobileCLIP's reader takes; the
    bytes stay as they are."""

    @property
    def captioned(self) -> bool:
        """Whether whole samples with their captions are written, shard by shard, and no table."""
        return self.to in ("webdataset", "sidecar") or (self.to == "jsonl" and self.rows == "sample")

    @model_validator(mode="after")
    def _fits_together(self) -> "ExportRecipe":
        if self.rows == "sample" and self.to != "jsonl":
            raise ValueError(f"rows: sample is a way of jsonl; {self.to} has its own")
        if self.to in ("webdataset", "sidecar") and self.rows != "caption":
            raise ValueError(f"rows: {self.rows} is for tables; {self.to} holds samples")
        if self.images and self.rows != "image":
            raise ValueError("images: true puts a picture into every row; say rows: image, so that it is there once")
        return self
