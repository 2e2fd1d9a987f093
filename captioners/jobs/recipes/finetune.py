"""What `captioners finetune` can be told: which captioner to start from, and how to train it further."""

from typing import Literal

from pydantic import Field

from captioners.core.options import operation
from captioners.core.recipe import job_recipes
from captioners.jobs.recipes.train import TrainRecipe


@job_recipes.register("finetune")
class FinetuneRecipe(TrainRecipe):
    """Train a captioner further."""

    job: Literal["finetune"] = "finetune"
    init: str = Field(min_length=1)
    """The captioner to start from: a name (`captioners list captioners`), a directory, or an open_clip `model/tag`."""
    scorer: str | None = operation(None, min_length=1)
    """A frozen model of two towers that judges init and result at the end, by CLIPScore and self-retrieval: an
    open_clip `MODEL/TAG`, `local-dir:DIR`, or a captioner with another image tower; absent: no such scores."""
    lr: float = Field(1e-5, gt=0)
    """Peak learning rate; after the warm-up a cosine takes it to 0."""
    weight_decay: float = Field(0.1, ge=0)
    """Of matrices; gains, biases, positions and scales are not decayed."""
